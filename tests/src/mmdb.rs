//! Writes databases in MaxMind's format, as their specification describes it: a binary tree over the
//! bits of an address, whose leaves point into a data section, and metadata at the end.
//!
//! <https://maxmind.github.io/MaxMind-DB/>

use std::collections::HashMap;

use reputation::{Cidr, ClientAddress};

/// What a record is made of.
#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    Short(u16),
    Number(u32),
    Long(u64),
    Flag(bool),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

/// How many bits of an address the tree knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    V4,
    /// IPv4 lies at `::/96`.
    V6,
}

/// How many bits each of a node's two records has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordSize {
    Bits24,
    Bits28,
    Bits32,
}

/// A database that is being written.
pub struct Mmdb {
    database_type: String,
    tree: Tree,
    record_size: RecordSize,
    built: u64,
    nodes: Vec<[Child; 2]>,
    data: Vec<u8>,
    /// Where each record is in `data`: equal ones are written once.
    offsets: HashMap<Vec<u8>, usize>,
}

#[derive(Debug, Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Data(usize),
}

const SEPARATOR: usize = 16;
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

impl Mmdb {
    pub fn new(database_type: &str) -> Self {
        Self {
            database_type: database_type.to_owned(),
            tree: Tree::V6,
            record_size: RecordSize::Bits28,
            built: 1_795_000_000,
            nodes: vec![[Child::Nothing; 2]],
            data: Vec::new(),
            offsets: HashMap::new(),
        }
    }

    /// Before the first record.
    pub fn tree(mut self, tree: Tree) -> Self {
        self.tree = tree;
        self
    }

    pub fn record_size(mut self, record_size: RecordSize) -> Self {
        self.record_size = record_size;
        self
    }

    /// When it was built, in Unix seconds.
    pub fn built(mut self, built: u64) -> Self {
        self.built = built;
        self
    }

    /// What it says of `network`; a later record inside an earlier one is the exception to it.
    pub fn record(mut self, network: Cidr, record: &Value) -> Self {
        self.add(network, record);
        self
    }

    pub fn add(&mut self, network: Cidr, record: &Value) {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        let (data, end) = (&mut self.data, bytes.len());
        let offset = *self.offsets.entry(bytes).or_insert_with_key(|bytes| {
            let offset = data.len();
            data.reserve(end);
            data.extend_from_slice(bytes);
            offset
        });
        let path = self.path(network);
        let mut node = 0;
        for (depth, bit) in path.iter().enumerate() {
            if depth + 1 == path.len() {
                self.set(node, *bit, Child::Data(offset));
            } else {
                node = self.descend(node, *bit);
            }
        }
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.nodes.len() * 8 + self.data.len() + 1024);
        for [left, right] in &self.nodes {
            let (left, right) = (self.written(*left), self.written(*right));
            self.record_size.write(left, right, &mut bytes);
        }
        bytes.extend_from_slice(&[0; SEPARATOR]);
        bytes.extend_from_slice(&self.data);
        bytes.extend_from_slice(MARKER);
        self.metadata().write(&mut bytes);
        bytes
    }

    /// The bits of `network`, each as the child to take.
    fn path(&self, network: Cidr) -> Vec<bool> {
        let (bits, width) = match (network.network(), self.tree) {
            (ClientAddress::V4(bits), Tree::V4) => (u128::from(bits), 32),
            (ClientAddress::V4(bits), Tree::V6) => (u128::from(bits), 128),
            (ClientAddress::V6(bits), _) => (bits, 128),
        };
        let prefix = match network.network() {
            ClientAddress::V4(_) => u32::from(network.len()) + width - 32,
            ClientAddress::V6(_) => u32::from(network.len()),
        };
        let bit = |depth: u32| bits >> (width - 1 - depth) & 1 == 1;
        (0..prefix).map(bit).collect()
    }

    fn set(&mut self, node: usize, bit: bool, child: Child) {
        if let Some(children) = self.nodes.get_mut(node) {
            let [left, right] = children;
            *(if bit { right } else { left }) = child;
        }
    }

    /// The node below; a leaf that was there becomes both of its children.
    fn descend(&mut self, node: usize, bit: bool) -> usize {
        let [left, right] = self.nodes.get(node).copied().unwrap_or([Child::Nothing; 2]);
        let child = if bit { right } else { left };
        if let Child::Node(below) = child {
            return below;
        }
        let below = self.nodes.len();
        self.nodes.push([child; 2]);
        self.set(node, bit, Child::Node(below));
        below
    }

    fn written(&self, child: Child) -> usize {
        match child {
            Child::Nothing => self.nodes.len(),
            Child::Node(node) => node,
            Child::Data(offset) => self.nodes.len() + SEPARATOR + offset,
        }
    }

    fn metadata(&self) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        Value::Map(vec![
            ("binary_format_major_version", Value::Short(2)),
            ("binary_format_minor_version", Value::Short(0)),
            ("build_epoch", Value::Long(self.built)),
            ("database_type", text(&self.database_type)),
            (
                "description",
                Value::Map(vec![("en", text("made by a test"))]),
            ),
            (
                "ip_version",
                Value::Short(if self.tree == Tree::V4 { 4 } else { 6 }),
            ),
            ("languages", Value::List(vec![text("en")])),
            ("node_count", Value::Number(nodes)),
            ("record_size", Value::Short(self.record_size.bits())),
        ])
    }
}

impl RecordSize {
    fn bits(self) -> u16 {
        match self {
            Self::Bits24 => 24,
            Self::Bits28 => 28,
            Self::Bits32 => 32,
        }
    }

    fn write(self, left: usize, right: usize, bytes: &mut Vec<u8>) {
        let last_four = |value: usize| {
            let value = u32::try_from(value).unwrap_or(u32::MAX);
            value.to_be_bytes()
        };
        let ([l0, l1, l2, l3], [r0, r1, r2, r3]) = (last_four(left), last_four(right));
        match self {
            Self::Bits24 => bytes.extend_from_slice(&[l1, l2, l3, r1, r2, r3]),
            Self::Bits28 => bytes.extend_from_slice(&[l1, l2, l3, l0 << 4 | r0, r1, r2, r3]),
            Self::Bits32 => bytes.extend_from_slice(&[l0, l1, l2, l3, r0, r1, r2, r3]),
        }
    }
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                head(2, text.len(), bytes);
                bytes.extend_from_slice(text.as_bytes());
            }
            Self::Short(number) => write_number(5, &number.to_be_bytes(), bytes),
            Self::Number(number) => write_number(6, &number.to_be_bytes(), bytes),
            Self::Long(number) => write_number(9, &number.to_be_bytes(), bytes),
            Self::Flag(flag) => head(14, usize::from(*flag), bytes),
            Self::List(items) => {
                head(11, items.len(), bytes);
                items.iter().for_each(|item| item.write(bytes));
            }
            Self::Map(entries) => {
                head(7, entries.len(), bytes);
                for (key, value) in entries {
                    Self::text(key).write(bytes);
                    value.write(bytes);
                }
            }
        }
    }
}

/// Without leading zeros.
fn write_number(kind: u8, octets: &[u8], bytes: &mut Vec<u8>) {
    let significant = octets.iter().skip_while(|octet| **octet == 0);
    head(kind, significant.clone().count(), bytes);
    bytes.extend(significant);
}

/// The control octets: the type, and the length of what follows.
fn head(kind: u8, length: usize, bytes: &mut Vec<u8>) {
    // Beyond what tests write, the length would take three octets.
    let (size, more) = match u16::try_from(length).unwrap_or(u16::MAX) {
        length @ 0..29 => (length.to_be_bytes()[1], Vec::new()),
        length @ 29..285 => (29, vec![(length - 29).to_be_bytes()[1]]),
        length => (30, (length - 285).to_be_bytes().to_vec()),
    };
    match kind.checked_sub(7) {
        None | Some(0) => bytes.push(kind << 5 | size),
        Some(extended) => bytes.extend_from_slice(&[size, extended]),
    }
    bytes.extend(more);
}
