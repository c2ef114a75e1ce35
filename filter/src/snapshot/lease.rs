//! Who fetches: one VM of the process, by a lease in shared memory that is renewed each second and lapses
//! after three missed beats. Any VM may take it over; two fetchers at once do no harm.

use super::keys::Keys;
use crate::host::Host;

const BEAT_MICROS: u64 = 1_000_000;
const LAPSE_MICROS: u64 = 3 * BEAT_MICROS;

#[derive(Debug, Default)]
pub struct Lease {
    looked_micros: Option<u64>,
    held: bool,
}

impl Lease {
    /// Whether this VM, known as `nonce`, is the fetcher now. Looks at shared memory once a beat.
    pub fn holds<H: Host>(&mut self, host: &H, keys: &Keys, nonce: u64, now: u64) -> bool {
        let due = self
            .looked_micros
            .is_none_or(|looked| now.abs_diff(looked) >= BEAT_MICROS);
        if due {
            self.looked_micros = Some(now);
            self.held = renew(host, &keys.lease, nonce, now);
        }
        self.held
    }
}

fn renew<H: Host>(host: &H, key: &str, nonce: u64, now: u64) -> bool {
    let Some((bytes, cas)) = host.shared(key) else {
        // Creation cannot be made conditional: who wrote last finds its own name at the next beat.
        let _written = host.set_shared(key, &encode(nonce, now), None);
        return host.shared(key).and_then(|(bytes, _)| decode(&bytes)) == Some((nonce, now));
    };
    let free = decode(&bytes).is_none_or(|(holder, beat)| {
        // A clock that was set back makes the beat lie in the future: that lapses too.
        holder == nonce || now.abs_diff(beat) > LAPSE_MICROS
    });
    free && host.set_shared(key, &encode(nonce, now), Some(cas)).is_ok()
}

fn encode(nonce: u64, beat: u64) -> [u8; 16] {
    (u128::from(nonce) << 64 | u128::from(beat)).to_be_bytes()
}

fn decode(bytes: &[u8]) -> Option<(u64, u64)> {
    let (nonce, rest) = bytes.split_first_chunk::<8>()?;
    let (beat, _) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*nonce), u64::from_be_bytes(*beat)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MockHost, config};

    const SECOND: u64 = 1_000_000;

    #[test]
    fn one_vm_holds_it_and_another_takes_it_after_three_missed_beats() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        let (mut first, mut second) = (Lease::default(), Lease::default());
        for beat in 0..5 {
            assert!(first.holds(&host, &keys, 1, beat * SECOND));
            assert!(!second.holds(&host, &keys, 2, beat * SECOND + 1));
        }
        assert!(!second.holds(&host, &keys, 2, 7 * SECOND));
        assert!(second.holds(&host, &keys, 2, 8 * SECOND));
        assert!(!first.holds(&host, &keys, 1, 8 * SECOND + 1));
    }

    #[test]
    fn a_clock_set_back_does_not_lock_it() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        assert!(Lease::default().holds(&host, &keys, 1, 100 * SECOND));
        assert!(Lease::default().holds(&host, &keys, 2, 5 * SECOND));
    }

    #[test]
    fn rubbish_in_its_place_is_overwritten() {
        let (host, keys) = (MockHost::default(), Keys::new(&config("{}").sidecar));
        host.set_shared(&keys.lease, b"?", None).unwrap();
        assert!(Lease::default().holds(&host, &keys, 1, 0));
    }
}
