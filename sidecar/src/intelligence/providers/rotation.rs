//! While a key is being replaced, the secret and the provider change at different moments. What a
//! provider refuses is asked once more with the keys' other values.

use super::Keys;
use crate::secrets::Secrets;

/// What to ask with after `refused` was refused; `None` if no key has another value.
pub async fn others(refused: &Keys, secrets: &Secrets) -> Option<Keys> {
    let mut others = Vec::with_capacity(refused.0.len());
    let mut differs = false;
    for (name, value) in &refused.0 {
        let other = secrets.instead_of(name, value).await;
        differs |= other.is_some();
        others.push((name.clone(), other.unwrap_or_else(|| value.clone())));
    }
    differs.then_some(Keys(others))
}

/// The provider took these.
pub fn taken(keys: &Keys, secrets: &Secrets) {
    for (name, value) in &keys.0 {
        secrets.taken(name, value);
    }
}
