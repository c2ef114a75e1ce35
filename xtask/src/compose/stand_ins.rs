//! Base images for machines that reach no registry: the same programs out of Debian's packages and Envoy's wheel, each
//! with the shared libraries it needs and a shell, imported under the names that our files use. Only into an engine of
//! our own: nobody else shall find them there under these names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::compiler;
use crate::engine::Engine;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{debian, envoy, redis, run, say};

/// A root file system in the making.
struct Root {
    folder: tempfile::TempDir,
}

/// Makes `image` if we know how; whether we do.
pub fn make(workspace: &Workspace, engine: &Engine, image: &str) -> Result<bool, Error> {
    let name = image.split([':', '@']).next().unwrap_or_default();
    if name == "rust" {
        say::step("laying a bare Debian with Rust");
        let root = Root::empty()?;
        compiler::fill(root.folder.path(), image)?;
        root.import(engine, image, &compiler::CHANGES)?;
        return Ok(true);
    }
    let root = Root::new(workspace)?;
    match name {
        "alpine" => root.authorities(workspace)?,
        "envoyproxy/envoy" => root.envoy(workspace)?,
        "redis" => root.redis()?,
        "prom/prometheus" => root.monitoring(workspace, &debian::PROMETHEUS, "prometheus")?,
        "prom/alertmanager" => root.monitoring(workspace, &debian::ALERTMANAGER, "alertmanager")?,
        _ => return Ok(false),
    }
    let command = match name {
        "prom/prometheus" => "ENTRYPOINT [\"/bin/prometheus\"]",
        "prom/alertmanager" => "ENTRYPOINT [\"/bin/alertmanager\"]",
        _ => "CMD [\"/bin/sh\"]",
    };
    root.import(engine, image, &[command])?;
    Ok(true)
}

impl Root {
    fn empty() -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::file(
            "cannot create a folder in",
            std::env::temp_dir(),
        ))?;
        // The root of a container is everybody's to read, unlike a temporary folder.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open)
            .map_err(Error::file("cannot open", folder.path()))?;
        Ok(Self { folder })
    }

    /// With busybox and bash, both static.
    fn new(workspace: &Workspace) -> Result<Self, Error> {
        let root = Self::empty()?;
        for path in ["etc", "tmp", "usr/bin", "usr/local/bin", "usr/local/share"] {
            root.directory(path, None)?;
        }
        let (bin, link) = (root.at("bin"), "usr/bin");
        symlink(link, &bin).map_err(Error::file("cannot link", &bin))?;
        let open = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(root.at("tmp"), open)
            .map_err(Error::file("cannot open", root.at("tmp")))?;
        let busybox = debian::ensure(workspace, &debian::BUSYBOX)?;
        root.copy(&busybox, "bin/busybox")?;
        let bash = debian::ensure(workspace, &debian::BASH)?;
        root.copy(&bash, "bin/bash")?;
        let applets = run::printed(Command::new(&busybox).arg("--list"))?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            let place = root.at("bin").join(applet);
            symlink("busybox", &place).map_err(Error::file("cannot link", &place))?;
        }
        Ok(root)
    }

    fn authorities(&self, workspace: &Workspace) -> Result<(), Error> {
        let one = debian::ensure(workspace, &debian::AUTHORITIES)?;
        let folder = one.parent().unwrap_or(&one).to_path_buf();
        let mut bundle = Vec::new();
        let entries = fs::read_dir(&folder).map_err(Error::file("cannot read", &folder))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            bundle.extend(fs::read(&path).map_err(Error::file("cannot read", &path))?);
        }
        self.directory("etc/ssl/certs", None)?;
        let place = self.at("etc/ssl/certs/ca-certificates.crt");
        fs::write(&place, bundle).map_err(Error::file("cannot write", &place))
    }

    fn envoy(&self, workspace: &Workspace) -> Result<(), Error> {
        let binary = envoy::ensure(workspace, envoy::DEFAULT_VERSION)?;
        self.program(&binary, "usr/local/bin/envoy")
    }

    /// As in the official image, /data belongs to user 999.
    fn redis(&self) -> Result<(), Error> {
        let server = redis::ensure()?;
        self.program(&server, "usr/bin/redis-server")?;
        self.program(&server.with_file_name("redis-cli"), "usr/bin/redis-cli")?;
        self.directory("data", Some(999))
    }

    /// As in the official images, the data's folder belongs to nobody.
    fn monitoring(
        &self,
        workspace: &Workspace,
        package: &debian::Package,
        name: &str,
    ) -> Result<(), Error> {
        let binary = debian::ensure(workspace, package)?;
        self.program(&binary, &format!("usr/bin/{name}"))?;
        for template in debian::fixed(package) {
            let place = template
                .strip_prefix("/")
                .unwrap_or(&template)
                .to_path_buf();
            self.directory(&place.parent().unwrap_or(&place).to_string_lossy(), None)?;
            self.copy(&template, &place.to_string_lossy())?;
        }
        self.directory(name, Some(65534))
    }

    /// A program and what it is linked with, where its loader looks.
    fn program(&self, binary: &Path, place: &str) -> Result<(), Error> {
        self.copy(binary, place)?;
        let linked = run::capture(Command::new("ldd").arg(binary))?;
        for library in libraries(&String::from_utf8_lossy(&linked.stdout)) {
            let place = library.to_string_lossy();
            let place = place.trim_start_matches('/');
            let folder = Path::new(place).parent().map(Path::to_string_lossy);
            self.directory(&folder.unwrap_or_default(), None)?;
            self.copy(&library, place)?;
        }
        Ok(())
    }

    fn import(&self, engine: &Engine, image: &str, changes: &[&str]) -> Result<(), Error> {
        say::step(format_args!(
            "standing in for {image}, from Debian's packages"
        ));
        let archive = self.folder.path().with_extension("tar");
        run::run(
            Command::new("tar")
                .arg("-C")
                .arg(self.folder.path())
                .arg("-cf")
                .arg(&archive)
                .arg("."),
        )?;
        let mut import = engine.docker();
        import.arg("import");
        for change in changes {
            import.args(["--change", change]);
        }
        let imported = run::capture(import.arg(&archive).arg(image));
        let _removed = fs::remove_file(&archive);
        match imported? {
            output if output.status.success() => Ok(()),
            output => Err(Error::Said(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )),
        }
    }

    fn at(&self, place: &str) -> PathBuf {
        self.folder.path().join(place)
    }

    fn copy(&self, from: &Path, place: &str) -> Result<(), Error> {
        let place = self.at(place);
        fs::copy(from, &place)
            .map(drop)
            .map_err(Error::file("cannot write", &place))
    }

    fn directory(&self, place: &str, owner: Option<u32>) -> Result<(), Error> {
        let place = self.at(place);
        fs::create_dir_all(&place).map_err(Error::file("cannot create", &place))?;
        match owner {
            None => Ok(()),
            Some(_) => chown(&place, owner, owner).map_err(Error::file("cannot give away", &place)),
        }
    }
}

/// The files that `ldd` names: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader alone.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    let words = ldd.lines().filter_map(|line| {
        let named = line.split("=>").last()?.split_whitespace().next()?;
        named.starts_with('/').then(|| PathBuf::from(named))
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_is_linked_with_is_found() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                   \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libm.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(libraries(ldd), expected.map(PathBuf::from));
        assert_eq!(
            libraries("\tnot a dynamic executable\n"),
            Vec::<PathBuf>::new()
        );
    }
}
