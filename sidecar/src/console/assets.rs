//! The style sheet and the icon, under names that change with their content.

use reputation::digest::Digest;

pub struct Asset {
    pub path: String,
    pub content_type: &'static str,
    pub content: &'static str,
}

pub struct Assets {
    pub style: Asset,
    pub icon: Asset,
}

pub const FOLDER: &str = "/assets/";
/// So many digits tell one version from another.
const DIGITS: usize = 16;

impl Assets {
    pub fn new() -> Self {
        Self {
            style: Asset::new(
                "console",
                "css",
                "text/css; charset=utf-8",
                include_str!("style.css"),
            ),
            icon: Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")),
        }
    }

    pub fn find(&self, path: &str) -> Option<&Asset> {
        [&self.style, &self.icon]
            .into_iter()
            .find(|asset| asset.path == path)
    }
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, content: &'static str) -> Self {
        let digest = Digest::of(content.as_bytes()).to_string();
        let version = digest.get(..DIGITS).unwrap_or(&digest);
        Self {
            path: format!("{FOLDER}{name}.{version}.{extension}"),
            content_type,
            content,
        }
    }
}
