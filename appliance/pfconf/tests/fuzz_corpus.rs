//! Every seed of the fuzzer, and every input that once was a finding, through what the fuzz targets check.

#[path = "../../../tests/fuzz/targets/pfconf_compile.rs"]
mod compile_target;
#[path = "../../../tests/fuzz/targets/pfconf.rs"]
mod pfconf_target;
#[allow(dead_code)]
#[path = "../../../tests/fuzz/targets/verdicts.rs"]
mod verdicts;

use std::path::Path;

#[test]
fn seeds_and_past_findings_are_no_findings() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    let mut run = 0;
    for kind in ["corpus", "cases"] {
        for target in ["pfconf", "pfconf_compile"] {
            let files = std::fs::read_dir(fuzz.join(kind).join(target));
            for file in files.into_iter().flatten().flatten() {
                let text = std::fs::read(file.path()).unwrap();
                println!("{}", file.path().display());
                pfconf_target::run(&text);
                compile_target::run(&text);
                run += 1;
            }
        }
    }
    assert!(run >= 40, "only {run} inputs");
}
