//! Whether databases on the disk are kept up to date, and taken.

use std::time::Duration;

use super::{Check, Finding, count};
use crate::intelligence::DatabaseStatus;

pub fn fresh(databases: &[DatabaseStatus]) -> Finding {
    let check = Check::DatabasesFresh;
    let old: Vec<_> = databases.iter().filter_map(overdue).collect();
    if !old.is_empty() {
        let remedy =
            "see that geoipupdate, or whatever fetches it, still runs and writes to that path";
        return Finding::attention(check, old.join(", "), remedy);
    }
    let ages = databases
        .iter()
        .filter_map(|database| database.in_force.as_ref());
    match (databases.len(), ages.map(|in_force| in_force.age_s).max()) {
        (0, _) => Finding::note(check, "no database is configured"),
        (_, None) => Finding::skipped(check, "no database is in force"),
        (number, Some(oldest)) => {
            let (number, age) = (count(number, "database"), show(oldest.into()));
            Finding::ok(check, format!("{number}, the oldest built {age} ago"))
        }
    }
}

pub fn refused(databases: &[DatabaseStatus]) -> Finding {
    let check = Check::DatabasesRefused;
    let told = databases.iter().filter_map(|database| {
        let error = database.last_error.as_ref()?;
        Some(format!("{}: {error}", database.name))
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        let read = databases.iter().filter(|database| database.is_being_read());
        let read: Vec<_> = read.map(|database| database.name.as_str()).collect();
        return match read.is_empty() {
            true => Finding::ok(check, "the file of each database is in force"),
            false => Finding::skipped(check, format!("still being read: {}", read.join(", "))),
        };
    }
    let remedy = "the one before stays in force, if there was one: mend the file, or its entry in \
                  the configuration";
    Finding::attention(check, told.join("; "), remedy)
}

fn overdue(database: &DatabaseStatus) -> Option<String> {
    let age = u64::from(database.in_force.as_ref()?.age_s);
    (age > database.max_age_s).then(|| {
        let (name, limit) = (&database.name, show(database.max_age_s));
        format!(
            "{name} was built {} ago, which is more than {limit}",
            show(age)
        )
    })
}

fn show(seconds: u64) -> String {
    crate::duration::show(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use reputation::UnixSeconds;

    use super::*;
    use crate::config::Say;
    use crate::doctor::State;
    use crate::intelligence::databases::VolumeStatus;

    fn database(age_days: u32) -> DatabaseStatus {
        DatabaseStatus {
            name: "asn".to_owned(),
            path: "/asn.mmdb".to_owned(),
            in_force: Some(VolumeStatus {
                kind: "asn".to_owned(),
                database_type: "GeoLite2-ASN".to_owned(),
                built: UnixSeconds(1),
                age_s: age_days * 86_400,
                nodes: 1,
                scores: false,
            }),
            max_age_s: 30 * 86_400,
            enforce_percent: Say::WHOLE,
            last_error: None,
        }
    }

    #[test]
    fn a_database_beyond_its_age_is_to_be_looked_at() {
        assert_eq!(fresh(&[]).state, State::Note);
        assert_eq!(fresh(&[database(30)]).state, State::Ok);
        let finding = fresh(&[database(1), database(31)]);
        assert_eq!(finding.state, State::Attention);
        assert!(finding.seen.contains("asn was built"), "{}", finding.seen);
        let none = DatabaseStatus {
            in_force: None,
            ..database(1)
        };
        assert_eq!(fresh(&[none]).state, State::Skipped);
    }

    #[test]
    fn a_file_that_is_not_taken_is_to_be_looked_at() {
        assert_eq!(refused(&[database(1)]).state, State::Ok);
        let faulty = DatabaseStatus {
            last_error: Some("it is cut short".to_owned()),
            ..database(1)
        };
        let unread = DatabaseStatus {
            in_force: None,
            ..database(1)
        };
        assert_eq!(refused(&[unread]).state, State::Skipped);
        let finding = refused(&[faulty]);
        assert_eq!(finding.state, State::Attention);
        assert_eq!(finding.seen, "asn: it is cut short");
    }
}
