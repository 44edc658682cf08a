//! The pcapng file: sections, interfaces, packets, names, keys.
//!
//! Owns the file. Must not know packets, only their bytes. Invariant: after each call the file is complete up to then.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, NameResolutionBlock, Record};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::blocks::unknown::UnknownBlock;
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};

/// `if_tsresol`: nanoseconds.
const NANOSECONDS: u8 = 9;
/// The Decryption Secrets Block (draft-ietf-opsawg-pcapng, section 4.7), and "TLSK": an NSS key log.
const SECRETS_BLOCK: u32 = 10;
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// An open capture.
pub(super) struct PcapNg {
    writer: PcapNgWriter<BufWriter<File>>,
    interfaces: u32,
}

impl PcapNg {
    /// Makes the file, with `comment` about all of it.
    pub(super) fn create(path: &Path, comment: &str) -> io::Result<PcapNg> {
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Comment(Cow::Owned(comment.to_owned())),
                SectionHeaderOption::UserApplication(Cow::Borrowed("tokio-shim")),
            ],
            ..SectionHeaderBlock::default()
        };
        let file = BufWriter::new(File::create(path)?);
        let writer = PcapNgWriter::with_section_header(file, section).map_err(into_io)?;
        let mut file = PcapNg { writer, interfaces: 0 };
        file.flush()?;
        Ok(file)
    }

    /// One more interface; its number.
    pub(super) fn interface(&mut self, name: &str) -> io::Result<u32> {
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        self.write(block)?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// One packet: `at_ns` since 1970, with a comment.
    pub(super) fn packet(
        &mut self,
        interface_id: u32,
        at_ns: u64,
        bytes: &[u8],
        comment: Option<&str>,
    ) -> io::Result<()> {
        self.write(EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_nanos(at_ns),
            original_len: bytes.len() as u32,
            data: Cow::Borrowed(bytes),
            options: comment
                .map(|text| EnhancedPacketOption::Comment(Cow::Borrowed(text)))
                .into_iter()
                .collect(),
        })
    }

    /// What `ip` is called.
    pub(super) fn name(&mut self, ip: IpAddr, name: &str) -> io::Result<()> {
        let names = vec![Cow::Borrowed(name)];
        let record = match ip {
            IpAddr::V4(ip) => Record::Ipv4(Ipv4Record { ip_addr: Cow::Owned(ip.octets().to_vec()), names }),
            IpAddr::V6(ip) => Record::Ipv6(Ipv6Record { ip_addr: Cow::Owned(ip.octets().to_vec()), names }),
        };
        self.write(NameResolutionBlock { records: vec![record, Record::End], options: Vec::new() })
    }

    /// Lines of a key log.
    pub(super) fn secrets(&mut self, key_log: &str) -> io::Result<()> {
        let mut value = [TLS_KEY_LOG.to_le_bytes(), (key_log.len() as u32).to_le_bytes()].concat();
        value.extend_from_slice(key_log.as_bytes());
        value.resize(value.len().next_multiple_of(4), 0);
        self.write(UnknownBlock::new(SECRETS_BLOCK, value.len() as u32, &value))
    }

    fn write<'a>(&mut self, block: impl PcapNgBlock<'a>) -> io::Result<()> {
        self.writer.write_pcapng_block(block).map_err(into_io)?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }
}

fn into_io(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
