use super::*;

#[test]
fn conditions_are_compared_byte_for_byte() {
    let cases: [(&[&str], bool, bool); 10] = [
        (&[r#""v3""#], true, true),
        (&["*"], true, true),
        (&[r#""v2", "v3""#], true, true),
        (&[r#""v2""#, "\t\"v3\" ,"], true, true),
        (&[r#"W/"v3""#], false, true),
        (&[r#"w/"v3""#], false, false),
        (&["W/*"], false, true),
        (&[r#""v33""#], false, false),
        (&["v3"], false, false),
        (&[""], false, false),
    ];
    for (lines, is_match, is_known) in cases {
        let values: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_static(line))
            .collect();
        assert_eq!(
            IfMatch(values.clone()).check(3).is_ok(),
            is_match,
            "{lines:?}"
        );
        assert_eq!(IfNoneMatch(values).holds(3), is_known, "{lines:?}");
    }
}
