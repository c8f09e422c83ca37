//! Generates the client of `payment.v1`; protox compiles the file, so no `protoc` is needed.

const PROTOS: &str = "../../protos";
const PAYMENT: &str = "payment/v1/payment.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={PROTOS}/{PAYMENT}");
    let descriptors = protox::compile([PAYMENT], [PROTOS])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
