//! Compiles the schema of the node service and of the stored Raft state. No `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../proto");
    let schema = protox::compile(["node.proto"], ["../../proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        // Entries and snapshots go from the disk to the network without a copy of their records.
        .bytes(".ottla.v1.Proposal")
        .bytes(".ottla.v1.Snapshot")
        .compile_fds(schema)?;
    Ok(())
}
