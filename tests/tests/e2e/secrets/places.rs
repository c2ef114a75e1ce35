//! Where secrets lie besides AWS's Secrets Manager: its parameters, and a token that is replaced while
//! whoever has the old one still comes.

use kit::abuseipdb::AbuseIpDb;
use kit::{Moto, Request, eventually_async};

use super::{Folder, Strangers, started};
use crate::common::{LIMIT, cli, sidecar_that_blocks};

const ADMIN: [&str; 2] = [
    "first-word-of-an-administrator",
    "second-word-of-an-administrator",
];

/// A provider whose key is what `lines` say of a parameter.
fn provider(abuseipdb: &AbuseIpDb, lines: &str) -> String {
    format!(
        "[budget]\nreserve_percent = 0\nburst_percent = 100\nnetwork_percent = 100\nsightings = 1\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"http://{}/api/v2/\"\n\
         key = \"secret:abuseipdb\"\nweight = 1.0\ntimeout = \"2s\"\n\
         [secret.abuseipdb]\nfrom = \"aws-ssm\"\nrefresh = \"1h\"\n{lines}",
        abuseipdb.address()
    )
}

#[tokio::test]
async fn a_parameter_of_each_type_is_read_and_followed() {
    let moto = Moto::start().await.unwrap();
    let json = |key: &str| format!("{{\"api_key\":\"{key}\",\"expires\":\"2027-03-01\"}}");
    for (kind, name, field, values) in [
        (
            "String",
            "/edge/plain",
            "",
            ["one".to_owned(), "two".to_owned()],
        ),
        (
            "SecureString",
            "/edge/secure",
            "",
            ["one".to_owned(), "two".to_owned()],
        ),
        (
            "SecureString",
            "/edge/json",
            "field = \"api_key\"\n",
            [json("one"), json("two")],
        ),
    ] {
        let [before, after] = &values;
        moto.put_parameter(kind, name, before).await.unwrap();
        let abuseipdb = AbuseIpDb::start().await.unwrap();
        abuseipdb.accepts(&["one"]);
        let lines = format!("name = {name:?}\n{field}");
        let builder = sidecar_that_blocks(&[]).toml(&provider(&abuseipdb, &lines));
        let sidecar = started(builder.aws(&moto)).await;
        let mut strangers = Strangers(0);
        strangers.all_known(3, &sidecar, &abuseipdb).await;
        // Replaced at both ends: nobody looks at the parameter before the old value is refused.
        moto.put_parameter(kind, name, after).await.unwrap();
        abuseipdb.accepts(&["two"]);
        strangers.all_known(3, &sidecar, &abuseipdb).await;
        assert_eq!(abuseipdb.refused(), 1, "{kind}");
        let shown = cli(&sidecar, &["secrets"]).await;
        assert!(shown.contains(&format!("aws-ssm {name}  2 ")), "{shown}");
        assert_eq!(shown.contains("2027-03-01"), !field.is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn an_admin_token_is_replaced_while_both_come() {
    let folder = Folder::new();
    folder.put("admin", ADMIN[0]);
    let builder = sidecar_that_blocks(&[]).toml(&folder.toml("admin"));
    let builder = builder.env("PORTCULLIS__LISTEN__ADMIN_TOKEN", "secret:admin");
    let sidecar = started(builder).await;
    let status = async |token: &str| {
        let request = Request::get("/v1/mode").header("authorization", format!("Bearer {token}"));
        request.send(sidecar.admin()).await.unwrap().status
    };
    assert_eq!(status(ADMIN[0]).await, 200);
    assert_eq!(status(ADMIN[1]).await, 401);
    folder.put("admin", ADMIN[1]);
    let taken = eventually_async(LIMIT, || async { status(ADMIN[1]).await == 200 });
    assert!(taken.await);
    assert_eq!(status(ADMIN[0]).await, 200, "for some minutes");
    assert_eq!(status("third-word").await, 401);
    assert!(!sidecar.log().contains("-word"));
}
