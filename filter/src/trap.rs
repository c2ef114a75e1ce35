//! For test builds only (feature `trap`): makes the VM trap where the configuration says, so that the
//! tests can see what becomes of the others.
//!
//! - `trap: tick | request_headers | http_call_response | configure` names the callback.
//! - `trap_after: N` traps in the N-th such call, counted over all VMs of the process, so that a reloaded
//!   VM is not trapped again. Without it a request traps if it has the header `x-trap`, and any other
//!   callback always.
//! - `trap_reason: R` traps any request whose client an image lists under the reason R: a poisonous
//!   snapshot.
//!
//! `vm_start` knows no plugin: there the VM configuration is the text `trap_vm_start N`.

use crate::config::{Findings, Section};
use crate::host::Host;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    Tick,
    RequestHeaders,
    HttpCallResponse,
    Configure,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapConfig {
    callback: Option<Callback>,
    after: Option<u32>,
    reason: Option<String>,
}

const CALLBACKS: [(&str, Callback); 4] = [
    ("tick", Callback::Tick),
    ("request_headers", Callback::RequestHeaders),
    ("http_call_response", Callback::HttpCallResponse),
    ("configure", Callback::Configure),
];

impl TrapConfig {
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        Self {
            callback: root.choice("trap", &CALLBACKS, findings),
            after: root.number("trap_after", 1, u32::MAX, findings),
            reason: root.text("trap_reason", findings).map(str::to_owned),
        }
    }

    /// Traps if `callback` is the one and its turn has come.
    pub fn at<H: Host>(&self, host: &H, callback: Callback) {
        if self.callback != Some(callback) {
            return;
        }
        let now = match self.after {
            Some(after) => count(host, callback.key()) == after,
            None if callback == Callback::RequestHeaders => {
                host.request_header("x-trap", |_| ()).is_some()
            }
            None => true,
        };
        if now {
            trap();
        }
    }

    pub fn on_reason(&self, reason: &str) {
        if self.reason.as_deref() == Some(reason) {
            trap();
        }
    }
}

impl Callback {
    fn key(self) -> &'static str {
        match self {
            Self::Tick => "portcullis-trap/tick",
            Self::RequestHeaders => "portcullis-trap/request_headers",
            Self::HttpCallResponse => "portcullis-trap/http_call_response",
            Self::Configure => "portcullis-trap/configure",
        }
    }
}

/// Traps in the N-th start of a VM, if the VM configuration is `trap_vm_start N`.
pub fn at_vm_start<H: Host>(host: &H, vm_configuration: &[u8]) {
    let text = std::str::from_utf8(vm_configuration).unwrap_or_default();
    let wanted = text.trim().strip_prefix("trap_vm_start ");
    let wanted = wanted.and_then(|number| number.parse().ok());
    if wanted.is_some_and(|wanted: u32| count(host, "portcullis-trap/vm_start") == wanted) {
        trap();
    }
}

/// Counts this call in shared memory and says which it is.
fn count<H: Host>(host: &H, key: &str) -> u32 {
    loop {
        let (before, cas) = match host.shared(key) {
            Some((bytes, cas)) => (bytes.first_chunk().copied().unwrap_or_default(), Some(cas)),
            None => ([0; 4], None),
        };
        let number = u32::from_le_bytes(before).saturating_add(1);
        if host.set_shared(key, &number.to_le_bytes(), cas).is_ok() {
            return number;
        }
    }
}

fn trap() -> ! {
    log::error!("portcullis: trapping as the test asked");
    std::process::abort()
}
