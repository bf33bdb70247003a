//! Turns `proto/edgescope.proto` into Rust with a compiler written in Rust, so that no `protoc` is needed.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/edgescope.proto");
    let descriptors = protox::compile(["proto/edgescope.proto"], ["proto"])?;
    tonic_prost_build::configure().build_transport(false).codec_path("crate::codec::BoundedCodec").compile_fds(descriptors)?;
    Ok(())
}
