use super::parse_id;

#[test]
fn only_one_spelling_of_an_id_is_read() {
    let id = "8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f";
    assert_eq!(parse_id(id).map(|id| id.to_string()).as_deref(), Some(id));
    for bad in [
        "",
        "0",
        "8C6E0D5C-2F4A-4B1E-8D3F-0A1B2C3D4E5F",
        "8c6e0d5c2f4a4b1e8d3f0a1b2c3d4e5f",
        "{8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f}",
        "urn:uuid:8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f",
        "8c6e0d5c-2f4a-4b1e-8d3f-0a1b2c3d4e5f ",
    ] {
        assert_eq!(parse_id(bad), None, "{bad:?}");
    }
}
