//! The last step from what the compiler wrote to what Envoy loads.
//!
//! Envoy calls every callback that a module exports, for every stream, so an export that is not there
//! costs nothing. The SDK exports all of them; the filter's own entry points are exported as
//! `portcullis_*`. Here ours take the ABI's names and the SDK's others go, with all code that only they
//! reached.

use walrus::{ExportId, ExportItem, FunctionId, Module, ModuleConfig};

use crate::error::Error;

const OURS: &str = "portcullis_";
const ABI: &str = "proxy_";
/// What the host needs besides our callbacks.
const KEPT: [&str; 4] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
];

/// Renames our entry points, drops every other callback, debug information and unreachable code.
pub fn finish(module: &[u8]) -> Result<Vec<u8>, Error> {
    let mut module = ModuleConfig::new()
        .generate_name_section(false)
        .generate_producers_section(false)
        .parse(module)
        .map_err(|error| Error::Finish(error.to_string()))?;
    let ours = entry_points(&module);
    if ours.is_empty() {
        return Err(Error::Finish(format!("it exports nothing named {OURS}*")));
    }
    for id in superfluous(&module, &ours) {
        module.exports.delete(id);
    }
    for (name, function) in ours {
        module.exports.add(&name, function);
    }
    require(&module)?;
    drop_debug_sections(&mut module);
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

/// Our entry points under the names by which the host calls them.
fn entry_points(module: &Module) -> Vec<(String, FunctionId)> {
    module
        .exports
        .iter()
        .filter_map(
            |export| match (export.name.strip_prefix(OURS), export.item) {
                (Some(name), ExportItem::Function(function)) => {
                    Some((format!("{ABI}{name}"), function))
                }
                _ => None,
            },
        )
        .collect()
}

/// What the host does not need, and what one of ours replaces.
fn superfluous(module: &Module, ours: &[(String, FunctionId)]) -> Vec<ExportId> {
    let stays = |name: &str| KEPT.contains(&name) && ours.iter().all(|(our, _)| our != name);
    let exports = module.exports.iter();
    let others = exports.filter(|export| !stays(&export.name));
    others.map(|export| export.id()).collect()
}

fn require(module: &Module) -> Result<(), Error> {
    let has = |name: &str| module.exports.iter().any(|export| export.name == name);
    match KEPT.into_iter().find(|name| !has(name)) {
        None => Ok(()),
        Some(name) => Err(Error::Finish(format!("the export {name} is missing"))),
    }
}

fn drop_debug_sections(module: &mut Module) {
    let debug: Vec<_> = module
        .customs
        .iter()
        .filter(|(_, section)| section.name().starts_with(".debug") || section.name() == "name")
        .map(|(id, _)| id)
        .collect();
    for id in debug {
        module.customs.delete(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(names: &[&str]) -> Vec<u8> {
        let mut module = Module::default();
        let memory = module.memories.add_local(false, false, 1, None, None);
        module.exports.add("memory", memory);
        for name in names {
            let mut function = walrus::FunctionBuilder::new(&mut module.types, &[], &[]);
            function.func_body().i32_const(7).drop();
            let function = function.finish(vec![], &mut module.funcs);
            module.exports.add(name, function);
        }
        module.emit_wasm()
    }

    fn exports(module: &[u8]) -> Vec<String> {
        let module = Module::from_buffer(module).unwrap();
        let mut names: Vec<_> = module
            .exports
            .iter()
            .map(|export| export.name.clone())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn ours_replace_the_callbacks_of_the_sdk_and_the_others_go() {
        let built = module(&[
            "_initialize",
            "proxy_abi_version_0_2_1",
            "proxy_on_memory_allocate",
            "proxy_on_tick",
            "proxy_on_log",
            "portcullis_on_tick",
        ]);
        let expected = [
            "_initialize",
            "memory",
            "proxy_abi_version_0_2_1",
            "proxy_on_memory_allocate",
            "proxy_on_tick",
        ];
        assert_eq!(exports(&finish(&built).unwrap()), expected);
    }

    #[test]
    fn ours_replaces_what_the_host_needs_if_there_are_both() {
        let built = module(&[
            "_initialize",
            "proxy_abi_version_0_2_1",
            "proxy_on_memory_allocate",
            "portcullis_on_memory_allocate",
        ]);
        let finished = exports(&finish(&built).unwrap());
        let allocators = finished.iter().filter(|name| name.contains("allocate"));
        assert_eq!(allocators.count(), 1, "{finished:?}");
    }

    #[test]
    fn a_module_that_lacks_what_the_host_needs_is_refused() {
        let without_abi = module(&[
            "_initialize",
            "proxy_on_memory_allocate",
            "portcullis_on_tick",
        ]);
        assert!(
            finish(&without_abi)
                .unwrap_err()
                .to_string()
                .contains("proxy_abi_version_0_2_1")
        );
        let without_ours = module(&[
            "_initialize",
            "proxy_abi_version_0_2_1",
            "proxy_on_memory_allocate",
        ]);
        assert!(
            finish(&without_ours)
                .unwrap_err()
                .to_string()
                .contains("portcullis_*")
        );
    }
}
