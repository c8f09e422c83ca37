use super::can_become;

#[test]
fn an_invoice_goes_its_way() {
    let all = ["draft", "open", "paid", "void"];
    let steps = all.map(|from| all.map(|to| can_become(from, to)));
    let expected = [
        [true, true, false, true],
        [false, true, false, true],
        [false, false, true, false],
        [false, false, false, true],
    ];
    assert_eq!(steps, expected);
}
