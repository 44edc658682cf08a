//! Generates the gRPC service that the tonic tests speak. The compiler is pure Rust: no `protoc` is asked for.

#[expect(clippy::disallowed_macros, reason = "cargo reads what a build script prints")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/echo.proto");
    let descriptors = protox::compile(["echo.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
