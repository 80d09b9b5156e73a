//! A serde deserializer over the tree; every error learns its way on the way up.

use super::error::{DecodeError, Problem};
use super::{IgnoredField, Style};
use crate::spec::node::{Entry, Node, Value};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::cell::RefCell;

pub(super) struct Context {
    pub style: Style,
    pub ignored: RefCell<Vec<IgnoredField>>,
}

#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'a, 's> {
    pub node: &'a Node<'s>,
    pub cx: &'a Context,
}

impl<'a, 's> NodeDeserializer<'a, 's> {
    fn map<'de, V: Visitor<'de>>(
        self,
        entries: &'a [Entry<'s>],
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_map(Entries { entries, next: 0, fields, cx: self.cx })
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_, '_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null if self.cx.style == Style::Scenario => Err(DecodeError::new(Problem::Null)),
            Value::Null | Value::Cut => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) => visitor.visit_i64(*n),
            Value::Big(n) => visitor.visit_u64(*n),
            Value::Float(x) => visitor.visit_f64(*x),
            Value::Str(text) => visitor.visit_str(text),
            Value::Seq(items) => visitor.visit_seq(Items { items, next: 0, cx: self.cx }),
            Value::Map(entries) => self.map(entries, None, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null if self.cx.style == Style::Manifest => visitor.visit_none(),
            Value::Null => Err(DecodeError::new(Problem::Null)),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(entries) => self.map(entries, Some(fields), visitor),
            // A derived struct would also take a list, field by field; nobody means that.
            Value::Seq(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Str(text) => {
                visitor.visit_enum(Variant { name: text, value: None, index: 0, cx: self.cx })
            }
            Value::Map(entries) => {
                let left = || entries.iter().enumerate().filter(|(_, e)| !is_cut(&e.value));
                match (left().next(), left().count()) {
                    (Some((index, one)), 1) => visitor.visit_enum(Variant {
                        name: &one.key,
                        value: Some(&one.value),
                        index,
                        cx: self.cx,
                    }),
                    (_, count) => Err(DecodeError::new(Problem::OneOf { count, known: variants })),
                }
            }
            Value::Null => self.deserialize_any(visitor),
            _ => {
                let names = crate::spec::suggest::list(variants.iter().copied());
                Err(DecodeError::new(Problem::Type {
                    found: self.node.what().to_owned(),
                    wanted: names,
                }))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier
    }
}

const fn is_cut(node: &Node<'_>) -> bool {
    matches!(node.value, Value::Cut)
}

struct Items<'a, 's> {
    items: &'a [Node<'s>],
    next: usize,
    cx: &'a Context,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        while self.items.get(self.next).is_some_and(is_cut) {
            self.next += 1;
        }
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let item = NodeDeserializer { node, cx: self.cx };
        seed.deserialize(item).map(Some).map_err(|e| e.under(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Entries<'a, 's> {
    entries: &'a [Entry<'s>],
    next: usize,
    fields: Option<&'static [&'static str]>,
    cx: &'a Context,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        // As in a Kubernetes API server, an empty value is an absent one.
        let empty_is_absent = self.cx.style == Style::Manifest;
        while self.entries.get(self.next).is_some_and(|e| match e.value.value {
            Value::Cut => true,
            Value::Null => empty_is_absent,
            _ => false,
        }) {
            self.next += 1;
        }
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        if let Some(known) = self.fields
            && !known.contains(&&*entry.key)
        {
            let (name, span) = (entry.key.to_string(), entry.key_span);
            self.cx.ignored.borrow_mut().push(IgnoredField { name, span, known });
        }
        let key: &str = &entry.key;
        let index = self.next;
        seed.deserialize(key.into_deserializer())
            .map(Some)
            .map_err(|e: DecodeError| e.at_key(index))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let index = self.next;
        self.next += 1;
        let Some(entry) = self.entries.get(index) else {
            return Err(de::Error::custom("a value without a key"));
        };
        let value = NodeDeserializer { node: &entry.value, cx: self.cx };
        seed.deserialize(value).map_err(|e| e.under(index))
    }
}

struct Variant<'a, 's> {
    name: &'a str,
    value: Option<&'a Node<'s>>,
    index: usize,
    cx: &'a Context,
}

impl<'a, 's, 'de> EnumAccess<'de> for Variant<'a, 's> {
    type Error = DecodeError;
    type Variant = Content<'a, 's>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), DecodeError> {
        let name = IntoDeserializer::<DecodeError>::into_deserializer(self.name);
        let in_map = self.value.is_some();
        let variant =
            seed.deserialize(name).map_err(|e| if in_map { e.at_key(self.index) } else { e })?;
        Ok((
            variant,
            Content { name: self.name, value: self.value, index: self.index, cx: self.cx },
        ))
    }
}

struct Content<'a, 's> {
    name: &'a str,
    value: Option<&'a Node<'s>>,
    index: usize,
    cx: &'a Context,
}

impl<'a, 's> Content<'a, 's> {
    fn inner(&self) -> Result<NodeDeserializer<'a, 's>, DecodeError> {
        match self.value {
            Some(node) => Ok(NodeDeserializer { node, cx: self.cx }),
            None => Err(de::Error::custom(format!(
                "`{0}` needs a value; write `{{{0}: …}}`",
                self.name
            ))),
        }
    }
}

impl<'de> VariantAccess<'de> for Content<'_, '_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.value.map(|n| &n.value) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Map(entries)) if entries.is_empty() => Ok(()),
            Some(_) => {
                let text = format!("`{0}` takes no value; write `{0}`", self.name);
                Err(<DecodeError as de::Error>::custom(text).under(self.index))
            }
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.inner()?).map_err(|e| e.under(self.index))
    }
    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.inner()?.deserialize_any(visitor).map_err(|e| e.under(self.index))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.inner()?.deserialize_struct("", fields, visitor).map_err(|e| e.under(self.index))
    }
}
