//! `$filter` and `$orderby` as far as Azure's own clients send them.

use serde_json::Value;

use super::{error::ApiError, id::scope_part};

/// A filter's expression.
#[derive(Clone, Debug, PartialEq)]
enum Expression {
    Or(Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Compare(Operand, Comparison, Operand),
    Call(String, Operand, Operand),
    Always,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<String>),
    Literal(Value),
}

/// A filter.
#[derive(Clone, Debug)]
pub struct Filter(Expression);

impl Filter {
    /// Parses a `$filter`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let invalid =
            || ApiError::bad_request("InvalidFilterInQueryString", format!("Invalid $filter '{text}' specified in the query string."));
        let tokens = tokenize(text).ok_or_else(invalid)?;
        // An expression nests by parentheses and `not`; a hostile one must not exhaust the stack.
        if tokens.len() > 512 {
            return Err(invalid());
        }
        let mut parser = Parser { tokens: &tokens, at: 0 };
        let expression = parser.or().ok_or_else(invalid)?;
        if parser.at < tokens.len() { Err(invalid()) } else { Ok(Self(expression)) }
    }

    /// The text that a property must be for anything to pass, if the filter says so: what an index can answer.
    pub fn required_text(&self, name: &str) -> Option<String> {
        fn required(expression: &Expression, name: &str) -> Option<String> {
            match expression {
                Expression::And(one, other) => required(one, name).or_else(|| required(other, name)),
                Expression::Compare(Operand::Path(path), Comparison::Equal, Operand::Literal(Value::String(text))) if matches!(path.as_slice(), [only] if only.eq_ignore_ascii_case(name)) => {
                    Some(text.clone())
                }
                _ => None,
            }
        }
        required(&self.0, name)
    }

    /// Whether a resource passes.
    pub fn accepts(&self, resource: &Value) -> bool {
        test(&self.0, resource)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(char),
}

fn tokenize(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' | ',' => {
                tokens.push(Token::Symbol(first));
                1
            }
            '\'' => {
                let (value, length) = quoted(rest)?;
                tokens.push(Token::Text(value));
                length
            }
            _ => {
                let length = rest.find(|c: char| c.is_whitespace() || "(),'".contains(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..length].to_owned()));
                length
            }
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// A text in quotes, doubled within; and its length in the source.
fn quoted(source: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = source.char_indices().skip(1).peekable();
    while let Some((index, c)) = chars.next() {
        if c != '\'' {
            value.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == '\'') {
            chars.next();
            value.push('\'');
        } else {
            return Some((value, index + 1));
        }
    }
    None
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Option<Expression> {
        let mut left = self.and()?;
        while self.word("or") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Expression> {
        let mut left = self.one()?;
        while self.word("and") {
            let right = self.one()?;
            left = tag(&left, &right).unwrap_or_else(|| Expression::And(Box::new(left), Box::new(right)));
        }
        Some(left)
    }

    fn one(&mut self) -> Option<Expression> {
        if self.word("not") {
            return Some(Expression::Not(Box::new(self.one()?)));
        }
        if self.symbol('(') {
            let inner = self.or()?;
            return self.symbol(')').then_some(inner);
        }
        if let (Some(Token::Word(name)), Some(Token::Symbol('('))) = (self.tokens.get(self.at), self.tokens.get(self.at + 1))
            && !is_case(name)
        {
            return self.call(&name.to_ascii_lowercase());
        }
        let left = self.operand()?;
        if self.is_whole(&left) {
            return Some(Expression::Compare(left, Comparison::Equal, Operand::Literal(Value::Bool(true))));
        }
        let Some(Token::Word(operator)) = self.next() else { return None };
        let comparison = match operator.to_ascii_lowercase().as_str() {
            "eq" => Comparison::Equal,
            "ne" => Comparison::NotEqual,
            "lt" => Comparison::Less,
            "le" => Comparison::LessOrEqual,
            "gt" => Comparison::Greater,
            "ge" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        Some(Expression::Compare(left, comparison, self.operand()?))
    }

    /// A property alone asks whether it is true, as `az lab vm list --claimable` does.
    fn is_whole(&self, operand: &Operand) -> bool {
        let is_property = matches!(operand, Operand::Path(path) if path.len() > 1);
        let ends = match self.tokens.get(self.at) {
            None | Some(Token::Symbol(')')) => true,
            Some(Token::Word(word)) => word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or"),
            Some(_) => false,
        };
        is_property && ends
    }

    /// `contains(a, b)`, `startswith(a, b)`, `endswith(a, b)`, the older `substringof(b, a)`, perhaps followed by `eq true`.
    fn call(&mut self, name: &str) -> Option<Expression> {
        self.at += 2;
        // What lists of locks and role assignments are narrowed by.
        if name == "atscope" {
            return self.symbol(')').then_some(Expression::Always);
        }
        let first = self.operand()?;
        if name == "assignedto" {
            let principal = Operand::Path(vec!["principalId".into()]);
            return self.symbol(')').then_some(Expression::Compare(principal, Comparison::Equal, first));
        }
        let second = self.symbol(',').then(|| self.operand())??;
        if !self.symbol(')') {
            return None;
        }
        let call = match name {
            "contains" | "startswith" | "endswith" => Expression::Call(name.into(), first, second),
            "substringof" => Expression::Call("contains".into(), second, first),
            _ => return None,
        };
        if !self.word("eq") {
            return Some(call);
        }
        match self.next() {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Some(call),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Some(Expression::Not(Box::new(call))),
            _ => None,
        }
    }

    fn operand(&mut self) -> Option<Operand> {
        match self.next()?.clone() {
            Token::Text(text) => Some(Operand::Literal(Value::String(text))),
            // Texts compare without case in any case.
            Token::Word(word) if is_case(&word) && self.symbol('(') => {
                let inner = self.operand()?;
                self.symbol(')').then_some(inner)
            }
            Token::Word(word) => {
                Some(literal(&word).map_or_else(|| Operand::Path(word.split('/').map(str::to_owned).collect()), Operand::Literal))
            }
            Token::Symbol(_) => None,
        }
    }

    fn next(&mut self) -> Option<&Token> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, wanted: char) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Symbol(wanted));
        self.at += usize::from(found);
        found
    }
}

/// `tolower(…)` and `toupper(…)`.
fn is_case(word: &str) -> bool {
    word.eq_ignore_ascii_case("tolower") || word.eq_ignore_ascii_case("toupper")
}

/// `tagName eq 'a' and tagValue eq 'b'` is about one tag.
fn tag(left: &Expression, right: &Expression) -> Option<Expression> {
    let named = |expression: &Expression, wanted: &str| match expression {
        Expression::Compare(Operand::Path(path), Comparison::Equal, Operand::Literal(Value::String(text)))
            if path.len() == 1 && path[0].eq_ignore_ascii_case(wanted) =>
        {
            Some(text.clone())
        }
        _ => None,
    };
    let (name, value) = (named(left, "tagName")?, named(right, "tagValue")?);
    let path = Operand::Path(vec!["tags".into(), name]);
    Some(Expression::Compare(path, Comparison::Equal, Operand::Literal(Value::String(value))))
}

fn literal(word: &str) -> Option<Value> {
    match word {
        "true" | "True" => Some(Value::Bool(true)),
        "false" | "False" => Some(Value::Bool(false)),
        "null" => Some(Value::Null),
        _ => word.parse::<i64>().ok().map(Value::from).or_else(|| word.parse::<f64>().ok().map(Value::from)),
    }
}

fn test(expression: &Expression, resource: &Value) -> bool {
    match expression {
        Expression::Or(left, right) => test(left, resource) || test(right, resource),
        Expression::And(left, right) => test(left, resource) && test(right, resource),
        Expression::Not(inner) => !test(inner, resource),
        Expression::Always => true,
        // A tag's name alone asks whether there is such a tag.
        Expression::Compare(Operand::Path(path), Comparison::Equal, Operand::Literal(Value::String(name)))
            if path.len() == 1 && path[0].eq_ignore_ascii_case("tagName") =>
        {
            resource["tags"].as_object().is_some_and(|tags| tags.keys().any(|tag| tag.eq_ignore_ascii_case(name)))
        }
        Expression::Compare(left, comparison, right) => compare(&value(left, resource), *comparison, &value(right, resource)),
        Expression::Call(name, whole, part) => {
            let (whole, part) = (text(&value(whole, resource)), text(&value(part, resource)));
            match name.as_str() {
                "contains" => whole.contains(&part),
                "startswith" => whole.starts_with(&part),
                _ => whole.ends_with(&part),
            }
        }
    }
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> bool {
    let order = match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.partial_cmp(&right),
        _ => Some(text(left).cmp(&text(right))),
    };
    match comparison {
        Comparison::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
        Comparison::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
        Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
        Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
        Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
        Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

fn value(operand: &Operand, resource: &Value) -> Value {
    match operand {
        Operand::Literal(value) => value.clone(),
        // Which group something lies in stands in its id alone.
        Operand::Path(path) if path.len() == 1 && path[0].eq_ignore_ascii_case("resourceGroup") => {
            resource["id"].as_str().and_then(|id| scope_part(id, "resourceGroups")).into()
        }
        Operand::Path(path) => look_up(resource, path).cloned().unwrap_or(Value::Null),
    }
}

/// Follows a path such as `properties/ownerObjectId`; names compare without case.
fn look_up<'a>(resource: &'a Value, path: &[String]) -> Option<&'a Value> {
    let field = |value: &'a Value, name: &str| {
        let object = value.as_object()?;
        object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    };
    match path {
        // Resource Manager's own filters call the type so.
        [one] if one.eq_ignore_ascii_case("resourceType") => field(resource, "type"),
        // Deployments, locks and roles are filtered by properties without their prefix.
        [one] => field(resource, one).or_else(|| field(&resource["properties"], one)),
        _ => path.iter().try_fold(resource, |value, name| field(value, name)),
    }
}

/// Texts compare without case, as Azure's do.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    }
}

/// Orders resources by a `$orderby` such as `name desc`.
pub fn order(items: &mut [Value], order: &str) {
    for part in order.split(',').rev() {
        let mut words = part.split_whitespace();
        let Some(path) = words.next() else { continue };
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        let descending = words.next().is_some_and(|word| word.eq_ignore_ascii_case("desc"));
        items.sort_by(|left, right| {
            let key = |resource: &Value| look_up(resource, &path).map(text).unwrap_or_default();
            let order = key(left).cmp(&key(right));
            if descending { order.reverse() } else { order }
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_of_azures_clients_work() {
        let vm = json!({"id": "/subscriptions/s/resourceGroups/Group1/providers/A/b/Vm1", "name": "Vm1", "type": "A/b", "tags": {"x": "1"}, "properties": {"allowClaim": true, "ownerObjectId": "me", "n": 5,
            "imageReference": {"offer": "UbuntuServer"}}});
        let cases = [
            ("name eq 'vm1'", true),
            ("Name eq 'other'", false),
            ("contains(name,'m1')", true),
            ("substringof('m1', name)", true),
            ("substringof('zz', name) eq true", false),
            ("properties/allowClaim eq true", true),
            ("properties/allowClaim", true),
            ("(properties/allowClaim) and name eq 'vm1'", true),
            ("not properties/allowClaim or properties/other", false),
            ("Properties/ownerObjectId eq 'me' and Properties/environmentId eq null", true),
            ("not (name eq 'vm1')", false),
            ("resourceType eq 'a/B'", true),
            ("resourceGroup eq 'group1' and name eq 'vm1'", true),
            ("resourceGroup eq 'group'", false),
            ("properties/n ge 5 or name eq 'q'", true),
            ("tolower(name) eq 'vm1' and toupper(properties/ownerObjectId) eq 'ME'", true),
            ("contains(tolower(name), 'm1')", true),
            ("tolower(name) eq 'vm2'", false),
            ("name eq 'it''s'", false),
            ("tagName eq 'X' and tagValue eq '1'", true),
            ("tagName eq 'x' and tagValue eq '2'", false),
            ("tagName eq 'y'", false),
            ("allowClaim eq true", true),
            ("atScope() and assignedTo('me')", false),
            ("startswith(name, 'vm') and endswith(name,'1')", true),
            ("properties/imageReference/offer eq 'ubuntuserver'", true),
        ];
        for (text, expected) in cases {
            match Filter::parse(text) {
                Ok(filter) => assert_eq!(filter.accepts(&vm), expected, "{text}"),
                Err(error) => assert!(!expected, "{text}: {}", error.message),
            }
        }
    }

    #[test]
    fn broken_filters_are_refused() {
        for text in [
            "",
            "name",
            "name eq",
            "name eq 'x",
            "name is 'x'",
            "(name eq 'x'",
            "name eq 'x')",
            "f(name, 'x')",
            "tolower(name",
            "tolower() eq 'x'",
            &"not ".repeat(5000),
        ] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn items_are_ordered() {
        let mut items = vec![json!({"name": "b"}), json!({"name": "C"}), json!({"name": "a"})];
        order(&mut items, "name desc");
        assert_eq!(items, [json!({"name": "C"}), json!({"name": "b"}), json!({"name": "a"})]);
    }
}
