//! Lists in a statement have one of few lengths: then its text comes again, and is not prepared anew for each list.

/// The smallest of few lengths that has room for so many.
///
/// ```
/// use tercet_database::lengths::up;
///
/// assert_eq!([1, 2, 3, 17, 25, 100].map(up), [1, 2, 4, 24, 32, 128]);
/// ```
#[must_use]
pub const fn up(items: usize) -> usize {
    let up = items.next_power_of_two();
    if up > 16 && items <= up / 4 * 3 { up / 4 * 3 } else { up }
}

/// The largest of few lengths that so many fill: themselves, up to sixteen.
///
/// ```
/// use tercet_database::lengths::down;
///
/// assert_eq!([0, 1, 3, 17, 25, 100].map(down), [0, 1, 3, 16, 24, 96]);
/// ```
#[must_use]
pub const fn down(items: usize) -> usize {
    if items <= 16 {
        return items;
    }
    let down = 1 << items.ilog2();
    if items >= down / 2 * 3 { down / 2 * 3 } else { down }
}

/// These keys, and the last one again up to one of few lengths: for a list in which a key given twice is as good as once.
///
/// ```
/// use tercet_database::lengths::filled;
///
/// assert_eq!(filled([3, 5, 8]), [3, 5, 8, 8]);
/// assert!(filled(Vec::<i64>::new()).is_empty());
/// ```
#[must_use]
pub fn filled<T: Clone>(keys: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.into_iter().collect();
    if let Some(last) = keys.last().cloned() {
        keys.resize(up(keys.len()), last);
    }
    keys
}
