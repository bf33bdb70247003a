//! Tells the crate where the built UI is, or writes a page that says how to build it, so that cargo alone is enough to compile.
use std::path::PathBuf;
use std::{env, fs, io};

const MISSING: &str = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Edgescope</title></head>
<body>
<h1>Edgescope runs, without its web interface</h1>
<p>This binary was compiled before the interface was built. Run <code>make build</code> in the source tree and start it again.</p>
<p>The API is at <a href="/api/v1/status">/api/v1/status</a>, its description at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p>
</body>
</html>
"#;

fn main() -> io::Result<()> {
    let ui = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../ui");
    let built = ui.join("dist");
    let dir = if built.join("index.html").is_file() {
        println!("cargo:rerun-if-changed={}", built.display());
        built.canonicalize()?
    } else {
        // A path that is not there would make cargo build this crate anew each time.
        println!("cargo:rerun-if-changed={}", ui.display());
        let dir = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("ui");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("index.html"), MISSING)?;
        dir
    };
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=EDGESCOPE_UI_DIST={}", dir.display());
    Ok(())
}
