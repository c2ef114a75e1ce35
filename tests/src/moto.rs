//! AWS as moto plays it: Secrets Manager and the parameters of Systems Manager behind one port, which
//! can be away and come back.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::Child;
use crate::client::{Request, Response};
use crate::error::KitError;
use crate::{parts, ports};

const START_LIMIT: Duration = Duration::from_secs(60);
/// The region is read out of the signature, which nobody checks.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=test/20261122/eu-central-1/secretsmanager/aws4_request, \
     SignedHeaders=host, Signature=0";

pub struct Moto {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Moto {
    /// Nobody answers at its port yet.
    pub fn prepare() -> Result<Self, KitError> {
        Ok(Self {
            folder: TempDir::new().map_err(KitError::io("cannot make a folder"))?,
            port: ports::reserve()?,
            child: None,
        })
    }

    pub async fn start() -> Result<Self, KitError> {
        let mut moto = Self::prepare()?;
        moto.come().await?;
        Ok(moto)
    }

    /// Begins to answer, with nothing in it.
    pub async fn come(&mut self) -> Result<(), KitError> {
        let mut command = Command::new(parts::moto_server()?);
        let port = self.port.to_string();
        command.args(["-H", "127.0.0.1", "-p", &port]);
        let mut child = Child::spawn("moto", &mut command, self.folder.path())?;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        let answers = async |_: &Child| tokio::net::TcpStream::connect(address).await.is_ok();
        child
            .wait_until("its port answers", START_LIMIT, answers)
            .await?;
        self.child = Some(child);
        Ok(())
    }

    /// Is away from now on, and forgets.
    pub fn go(&mut self) {
        self.child = None;
    }

    /// What leads AWS's SDK here.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            (
                "AWS_ENDPOINT_URL",
                format!("http://localhost:{}", self.port),
            ),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    pub async fn create_secret(&self, name: &str, value: &str) -> Result<(), KitError> {
        let body = json!({"Name": name, "SecretString": value});
        self.call("secretsmanager.CreateSecret", body).await
    }

    /// The value before becomes AWSPREVIOUS.
    pub async fn put_secret(&self, name: &str, value: &str) -> Result<(), KitError> {
        let body = json!({"SecretId": name, "SecretString": value});
        self.call("secretsmanager.PutSecretValue", body).await
    }

    /// `kind` is `String` or `SecureString`.
    pub async fn put_parameter(&self, kind: &str, name: &str, value: &str) -> Result<(), KitError> {
        let body = json!({
            "Name": name, "Value": value, "Type": kind, "Overwrite": true,
        });
        self.call("AmazonSSM.PutParameter", body).await
    }

    async fn call(&self, target: &str, body: Value) -> Result<(), KitError> {
        let signature = match target.starts_with("AmazonSSM") {
            true => SIGNATURE.replace("secretsmanager", "ssm"),
            false => SIGNATURE.to_owned(),
        };
        let request = Request::post("/", body.to_string().into_bytes());
        let request = request.header("content-type", "application/x-amz-json-1.1");
        let request = request.header("x-amz-target", target);
        let request = request.header("authorization", signature);
        let answer: Response = request.send(([127, 0, 0, 1], self.port).into()).await?;
        if answer.status == 200 {
            return Ok(());
        }
        Err(KitError::Http(format!("{target}: {}", answer.text())))
    }
}
