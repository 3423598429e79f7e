//! The one place where names and values get into SQL.

/// An identifier between back-ticks.
#[must_use]
pub fn identifier(name: &str) -> String {
    quoted(name, '`')
}

/// A string literal.
#[must_use]
pub fn string(value: &str) -> String {
    quoted(value, '\'')
}

/// `database`.`name`.
#[must_use]
pub(super) fn table(database: &str, name: &str) -> String {
    format!("{}.{}", identifier(database), identifier(name))
}

/// ClickHouse reads backslash escapes within both kinds of quotes (documentation, "Syntax").
fn quoted(text: &str, quote: char) -> String {
    let mut sql = String::with_capacity(text.len() + 2);
    sql.push(quote);
    for c in text.chars() {
        match c {
            '\\' => sql.push_str("\\\\"),
            '\0' => sql.push_str("\\0"),
            c if c == quote => {
                sql.push('\\');
                sql.push(c);
            }
            c => sql.push(c),
        }
    }
    sql.push(quote);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a quoted text as ClickHouse's lexer does; `None` when it does not end at its end.
    fn read(sql: &str, quote: char) -> Option<String> {
        let mut chars = sql.chars();
        (chars.next()? == quote).then_some(())?;
        let mut text = String::new();
        loop {
            match chars.next()? {
                '\\' => text.push(match chars.next()? {
                    '0' => '\0',
                    c => c,
                }),
                c if c == quote => return chars.next().is_none().then_some(text),
                c => text.push(c),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_is_read_back(text in ".*") {
            prop_assert_eq!(read(&identifier(&text), '`'), Some(text.clone()));
            prop_assert_eq!(read(&string(&text), '\''), Some(text));
        }
    }

    #[test]
    fn quotes_and_backslashes_do_not_end_it() {
        assert_eq!(string("it's"), r"'it\'s'");
        assert_eq!(identifier("a`b\\"), r"`a\`b\\`");
    }
}
