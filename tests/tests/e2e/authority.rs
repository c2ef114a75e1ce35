//! Certificate authorities that tests make up.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// An authority and a certificate that it gave to 127.0.0.1, as files.
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let root = authority.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), root.pem()).unwrap();
        let issuer = Issuer::new(authority, key);
        let ours = Self { folder, issuer };
        ours.issue("server", server());
        let mut lapsed = server();
        lapsed.not_before = date_time_ymd(2020, 1, 1);
        lapsed.not_after = date_time_ymd(2020, 2, 1);
        ours.issue("expired", lapsed);
        ours
    }

    pub fn root(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Certificate and key: `server`, or `expired` years ago.
    pub fn pair(&self, name: &str) -> [PathBuf; 2] {
        [
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        ]
    }

    /// Certificate and key for a client of this name in this organisational unit.
    pub fn client(&self, name: &str, unit: &str) -> [PathBuf; 2] {
        let mut client = CertificateParams::default();
        let subject = &mut client.distinguished_name;
        subject.push(DnType::CommonName, name);
        subject.push(DnType::OrganizationalUnitName, unit);
        self.issue(name, client);
        self.pair(name)
    }

    fn issue(&self, name: &str, what: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = what.signed_by(&key, &self.issuer).unwrap();
        let [at, key_at] = self.pair(name);
        std::fs::write(at, certificate.pem()).unwrap();
        std::fs::write(key_at, key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn server() -> CertificateParams {
    CertificateParams::new(["127.0.0.1".to_owned()]).unwrap()
}
