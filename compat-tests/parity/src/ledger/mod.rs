mod entries;
mod index;
mod names;
mod print;

pub(crate) fn dump() {
    let mut args = std::env::args().skip(1);
    let text = std::fs::read_to_string(args.next().unwrap()).unwrap();
    let index = index::Index::new(serde_json::from_str(&text).unwrap());
    for (n, entry) in entries::all(&index).into_iter().enumerate() {
        println!("/* {} | {} */", entry.name, entry.what);
        println!("{}", entry.check.replacen("_item", &format!("_item_{n}"), 1));
    }
}
