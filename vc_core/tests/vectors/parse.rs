use std::collections::BTreeMap;

/// Lines of `name = hex`; `#` starts a comment line.
pub(super) fn read(text: &'static str) -> BTreeMap<&'static str, Vec<u8>> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let (name, value) = line.split_once(" = ").expect("name = hex");
            (name, hex::decode(value).expect("hex"))
        })
        .collect()
}
