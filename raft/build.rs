//! Generates the messages and the service between control planes from `proto/`, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    for file in ["node.proto", "raft.proto", "controller.proto"] {
        println!("cargo:rerun-if-changed={root}/{file}");
    }
    let files = protox::compile(["node.proto"], [root])?;
    tonic_prost_build::configure().bytes(".ottla.v1").compile_fds(files)?;
    Ok(())
}
