//! A terminal at an edge: the addresses and folders of the documentation are those of this edge, and `portcullis`
//! speaks to it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kit::parts;
use kit::shell::Desk;

use crate::common::Edge;

/// A shell in which the shipped addresses are those of this edge, and `portcullis` speaks to it.
pub fn desk(edge: &Edge, programs: &Path) -> Desk {
    let Edge { envoy, sidecar, .. } = edge;
    write_program(programs, "portcullis", &portcullis(edge));
    let folder = plugin_file(edge).parent().unwrap().to_path_buf();
    let ports = [
        (10_000, envoy.edge()),
        (10_001, envoy.api_address()),
        (10_002, envoy.stats_address()),
        (9901, envoy.admin()),
        (8970, sidecar.edge()),
        (8971, sidecar.admin()),
        (8972, sidecar.metrics()),
    ];
    let named = |(port, here): (u16, std::net::SocketAddr)| {
        ["127.0.0.1", "localhost"].map(|host| (format!("{host}:{port}"), here.to_string()))
    };
    let log = sidecar.folder().join("sidecar.err");
    let files = [
        ("/var/log/envoy/access.json", envoy.access_log_file()),
        ("/var/log/portcullis/sidecar.json", log),
        ("/var/lib/portcullis", sidecar.folder().join("store")),
        ("/etc/portcullis", sidecar.folder().to_path_buf()),
        ("/etc/envoy", folder),
    ];
    let files = files.map(|(usual, here)| (usual.to_owned(), here.display().to_string()));
    Desk {
        directory: PathBuf::from("/"),
        programs: programs.to_path_buf(),
        environment: vec![("PORTCULLIS_TOKEN".to_owned(), sidecar.token())],
        places: ports.into_iter().flat_map(named).chain(files).collect(),
    }
}

/// `portcullis` for this sidecar and this proxy.
fn portcullis(edge: &Edge) -> String {
    let binary = std::path::absolute(parts::portcullis().unwrap()).unwrap();
    let (envoy, sidecar) = (&edge.envoy, &edge.sidecar);
    format!(
        "case \"$1\" in\n\
         check-config|snapshot|serve|--*) exec {binary} \"$@\" ;;\n\
         doctor) set -- \"$@\" --edge http://{} --stats http://{} --envoy-admin http://{} ;;\n\
         esac\nexec {binary} \"$@\" --admin http://{}",
        envoy.edge(),
        envoy.stats_address(),
        envoy.admin(),
        sidecar.admin(),
        binary = binary.display(),
    )
}

pub fn plugin_file(edge: &Edge) -> PathBuf {
    edge.envoy
        .access_log_file()
        .with_file_name("portcullis.yaml")
}

pub fn write_program(folder: &Path, name: &str, script: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}
