//! What the programs of `fuzz_targets` share. Each runs one target of one crate; the names are
//! those of the targets.

use std::path::Path;

use hm_fuzz::Target;
pub use libfuzzer_sys;

/// Where a program writes the valid inputs of its target before it begins.
const SEEDS_VARIABLE: &str = "HM_FUZZ_SEEDS";

/// The target called `name`.
///
/// # Panics
/// Where there is none: a program of a wrong name shall not run.
pub fn target(name: &str) -> &'static Target {
    [
        hm_chunk::fuzz::TARGETS,
        hm_crypto::fuzz::TARGETS,
        hm_dns::fuzz::TARGETS,
        hm_x509::fuzz::TARGETS,
        stoq::fuzz::TARGETS,
        PLANTED,
    ]
    .into_iter()
    .flatten()
    .find(|target| target.name == name)
    .unwrap_or_else(|| panic!("no target is called {name}"))
}

/// Writes the valid inputs of `target` into the directory that `HM_FUZZ_SEEDS` names.
///
/// # Panics
/// Where they cannot be written.
pub fn write_seeds(target: &Target) {
    let Some(directory) = std::env::var_os(SEEDS_VARIABLE) else {
        return;
    };
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        let file = Path::new(&directory).join(format!("seed-{number}"));
        std::fs::write(&file, seed).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

#[cfg(not(feature = "planted"))]
const PLANTED: &[Target] = &[];

/// A reader of memory operations with one bug: a fence whose epoch is the greatest there is. Bytes
/// at random would take 2^64 tries.
#[cfg(feature = "planted")]
const PLANTED: &[Target] = &[Target {
    name: "planted",
    seeds: || (target("memory-operation").seeds)(),
    read: |input| {
        (target("memory-operation").read)(input);
        if input.len() == 41 && input[0] == 5 && input[33..] == [0xff; 8] {
            panic!("a planted bug");
        }
    },
}];

/// The body of a program: the target of this name under libFuzzer.
#[macro_export]
macro_rules! under_libfuzzer {
    ($name:literal) => {
        static TARGET: std::sync::OnceLock<&'static hm_fuzz::Target> = std::sync::OnceLock::new();

        $crate::libfuzzer_sys::fuzz_target!(
            init: {
                let target = TARGET.get_or_init(|| $crate::target($name));
                $crate::write_seeds(target);
            },
            |input: &[u8]| {
                (TARGET.get_or_init(|| $crate::target($name)).read)(input);
            }
        );
    };
}
