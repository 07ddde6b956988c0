//! Compiles the schema of the metadata records. No `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../proto/metadata.proto");
    let schema = protox::compile(["metadata.proto"], ["../../proto"])?;
    let mut config = prost_build::Config::new();
    // One encoding per image: maps in the order of their keys.
    config.btree_map(["."]);
    config.compile_fds(schema)?;
    Ok(())
}
