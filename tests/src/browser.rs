//! A real Chromium without a screen, driven over WebDriver by chromedriver: what a person at a page sees
//! and does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::Child;
use crate::client::Request;
use crate::error::KitError;
use crate::{eventually_async, parts, ports};

pub struct Browser {
    address: SocketAddr,
    session: String,
    _driver: Child,
    _folder: TempDir,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

const START_LIMIT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(10);
/// What WebDriver calls an element by.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Look {
    pub const LIGHT: Self = Self {
        name: "light",
        width: 1200,
        height: 900,
        dark: false,
    };
    pub const DARK: Self = Self {
        name: "dark",
        dark: true,
        ..Self::LIGHT
    };
    pub const PHONE: Self = Self {
        name: "phone",
        width: 360,
        height: 740,
        dark: false,
    };
}

/// Ends the session: a driver that is killed leaves its browser running.
impl Drop for Browser {
    fn drop(&mut self) {
        let end = || -> std::io::Result<usize> {
            let mut driver = TcpStream::connect(self.address)?;
            driver.set_read_timeout(Some(PATIENCE))?;
            let (path, host) = (&self.session, self.address);
            write!(
                driver,
                "DELETE {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
            )?;
            driver.read(&mut [0; 64])
        };
        // Without a driver there is nobody left to ask.
        let _answered = end();
    }
}

impl Browser {
    pub async fn start() -> Result<Self, KitError> {
        let (chromium, chromedriver) = parts::chromium()?;
        let folder = TempDir::new().map_err(KitError::io("cannot make a folder"))?;
        let port = ports::reserve()?;
        let mut command = Command::new(chromedriver);
        command.arg(format!("--port={port}"));
        let mut driver = Child::spawn("chromedriver", &mut command, folder.path())?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let answers = async |_: &Child| tokio::net::TcpStream::connect(address).await.is_ok();
        driver
            .wait_until("its port answers", START_LIMIT, answers)
            .await?;
        let mut browser = Self {
            address,
            session: String::new(),
            _driver: driver,
            _folder: folder,
        };
        let options = json!({
            "binary": chromium,
            // Root has no sandbox, a container little shared memory.
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--no-first-run", "--disable-background-networking", "--disable-component-update"],
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let opened = browser.command("POST", "/session", &wanted).await?;
        browser.session = format!("/session/{}", text_at(&opened, "sessionId"));
        Ok(browser)
    }

    pub async fn go(&self, url: &str) -> Result<(), KitError> {
        self.ask("POST", "/url", &json!({ "url": url })).await?;
        Ok(())
    }

    /// Waits for what `css` selects, and clicks it.
    pub async fn click(&self, css: &str) -> Result<(), KitError> {
        let path = format!("/element/{}/click", self.find(css).await?);
        self.ask("POST", &path, &json!({})).await?;
        Ok(())
    }

    /// Types into what `css` selects; `\u{e007}` is the enter key, `\u{e004}` the tabulator.
    pub async fn enter(&self, css: &str, text: &str) -> Result<(), KitError> {
        let path = format!("/element/{}/value", self.find(css).await?);
        self.ask("POST", &path, &json!({ "text": text })).await?;
        Ok(())
    }

    /// What a person reads in what `css` selects.
    pub async fn text(&self, css: &str) -> Result<String, KitError> {
        let path = format!("/element/{}/text", self.find(css).await?);
        let text = self.ask("GET", &path, &Value::Null).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page says this.
    pub async fn says(&self, wanted: &str) -> bool {
        eventually_async(PATIENCE, || async {
            self.text("body")
                .await
                .is_ok_and(|text| text.contains(wanted))
        })
        .await
    }

    /// What a script returns: a test's look into the page, which itself needs none.
    pub async fn script(&self, script: &str) -> Result<Value, KitError> {
        let body = json!({ "script": script, "args": [] });
        self.ask("POST", "/execute/sync", &body).await
    }

    /// What the browser complained about since it was last asked.
    pub async fn complaints(&self) -> Result<Vec<String>, KitError> {
        let log = self
            .ask("POST", "/se/log", &json!({"type": "browser"}))
            .await?;
        let lines = log.as_array().cloned().unwrap_or_default().into_iter();
        Ok(lines
            .map(|line| text_at(&line, "message").to_owned())
            .collect())
    }

    pub async fn look(&self, look: Look) -> Result<(), KitError> {
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await?;
        let metrics = json!({"width": look.width, "height": look.height, "deviceScaleFactor": 1,
            "mobile": look.width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        Ok(())
    }

    /// The whole page, also what has to be scrolled to, into a file.
    pub async fn screenshot(&self, path: &Path) -> Result<(), KitError> {
        let how = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.devtools("Page.captureScreenshot", how).await?;
        let data = BASE64_STANDARD.decode(text_at(&shot, "data"));
        let data = data.map_err(|error| KitError::Http(error.to_string()))?;
        std::fs::write(path, data).map_err(KitError::io("cannot write a screenshot"))
    }

    async fn find(&self, css: &str) -> Result<String, KitError> {
        let wanted = json!({"using": "css selector", "value": css});
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.ask("POST", "/element", &wanted).await {
                Ok(found) => return Ok(text_at(&found, ELEMENT).to_owned()),
                Err(error) if tokio::time::Instant::now() >= end => return Err(error),
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Result<Value, KitError> {
        let body = json!({"cmd": command, "params": parameters});
        self.ask("POST", "/goog/cdp/execute", &body).await
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, KitError> {
        self.command(method, &format!("{}{path}", self.session), body)
            .await
    }

    async fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, KitError> {
        let request = match method {
            "GET" => Request::get(path),
            _ => Request::post(path, body.to_string().into_bytes()),
        };
        // The driver answers to its own address only.
        let request = request
            .header("host", self.address.to_string())
            .header("content-type", "application/json");
        let answer = request.send(self.address).await?;
        let mut document = answer.json();
        let value = document.get_mut("value").map(Value::take);
        let value = value.unwrap_or_default();
        match answer.status {
            200 => Ok(value),
            _ => Err(KitError::Http(format!("{path}: {value}"))),
        }
    }
}

/// Empty where there is no such text.
fn text_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
