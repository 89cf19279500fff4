#include "common/segment/format.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/coding.h"
#include "common/base/crc32c.h"
#include "common/errors/errors.h"

namespace sluice {
namespace {

// Length and checksum of the footer, magic.
constexpr size_t kTrailerBytes = 16;

constexpr uint8_t kRowVersion = 1;
enum RowFlag : uint8_t { kHasDocument = 1, kHasUri = 2, kPendingEmbedding = 4, kAllFlags = 7 };
enum class ValueType : uint8_t { kString = 1, kInt = 2, kFloat = 3, kBool = 4 };

void PutBytes(std::string* out, std::string_view bytes) {
  PutFixed(out, static_cast<uint32_t>(bytes.size()));
  out->append(bytes);
}

std::string_view TakeBytes(Decoder& in) { return in.Bytes(in.Fixed<uint32_t>()); }

void PutValue(std::string* out, const v1::MetadataValue& value) {
  switch (value.value_case()) {
    case v1::MetadataValue::kStringValue:
      PutFixed(out, static_cast<uint8_t>(ValueType::kString));
      return PutBytes(out, value.string_value());
    case v1::MetadataValue::kIntValue:
      PutFixed(out, static_cast<uint8_t>(ValueType::kInt));
      return PutFixed(out, static_cast<int64_t>(value.int_value()));
    case v1::MetadataValue::kFloatValue:
      PutFixed(out, static_cast<uint8_t>(ValueType::kFloat));
      return PutFixed(out, std::bit_cast<uint64_t>(value.float_value()));
    case v1::MetadataValue::kBoolValue:
      PutFixed(out, static_cast<uint8_t>(ValueType::kBool));
      return PutFixed(out, static_cast<uint8_t>(value.bool_value()));
    case v1::MetadataValue::VALUE_NOT_SET:
      break;
  }
  SLUICE_CHECK(false && "a row's metadata values are set");
}

bool TakeValue(Decoder& in, v1::MetadataValue* value) {
  switch (static_cast<ValueType>(in.Fixed<uint8_t>())) {
    case ValueType::kString:
      value->set_string_value(std::string(TakeBytes(in)));
      return in.ok();
    case ValueType::kInt:
      value->set_int_value(in.Fixed<int64_t>());
      return in.ok();
    case ValueType::kFloat:
      value->set_float_value(std::bit_cast<double>(in.Fixed<uint64_t>()));
      return in.ok();
    case ValueType::kBool:
      value->set_bool_value(in.Fixed<uint8_t>() != 0);
      return in.ok();
  }
  return false;
}

// Of a kind that this version knows.
bool IsKnown(const Section& section) {
  return section.kind >= SectionKind::kHeader && section.kind <= SectionKind::kGraph;
}

}  // namespace

const Section* Footer::Find(SectionKind kind) const {
  const auto it = std::ranges::find(sections, kind, &Section::kind);
  return it == sections.end() ? nullptr : &*it;
}

uint32_t SectionCrc(SectionKind kind, std::string_view bytes) {
  if (kind == SectionKind::kRows && bytes.size() > kRowsTailBytes) {
    bytes.remove_prefix(bytes.size() - kRowsTailBytes);
  }
  return Crc32c(bytes);
}

std::string EncodeHeader(uint32_t dimension) {
  std::string out(kHeaderMagic);
  PutFixed(&out, kFormatVersion);
  PutFixed(&out, dimension);
  out.resize(kHeaderBytes, '\0');
  return out;
}

std::string EncodeFooter(const Footer& footer) {
  std::string out;
  PutFixed(&out, footer.entries);
  PutFixed(&out, footer.rows);
  PutFixed(&out, footer.vectors);
  PutFixed(&out, static_cast<uint32_t>(footer.sections.size()));
  for (const Section& s : footer.sections) {
    PutFixed(&out, static_cast<uint32_t>(s.kind));
    PutFixed(&out, s.crc32c);
    PutFixed(&out, s.offset);
    PutFixed(&out, s.length);
  }
  PutFixed(&out, static_cast<uint32_t>(out.size()));
  PutFixed(&out, Crc32c(out));
  out += kFooterMagic;
  return out;
}

std::string_view Layout::Bytes(SectionKind kind, std::string_view file) const {
  const Section* s = footer.Find(kind);
  return s == nullptr ? std::string_view() : file.substr(s->offset, s->length);
}

absl::StatusOr<Footer> ReadFooter(std::string_view end, uint64_t size, std::string_view object) {
  if (size < kHeaderBytes + kTrailerBytes || end.size() < kTrailerBytes)
    return SegmentCorrupt(object, "cut short");
  Decoder trailer(end.substr(end.size() - kTrailerBytes));
  const auto length = trailer.Fixed<uint32_t>();
  const auto crc32c = trailer.Fixed<uint32_t>();
  if (trailer.rest() != kFooterMagic) return SegmentCorrupt(object, "no footer");
  if (length > size - kHeaderBytes - kTrailerBytes || length > end.size() - kTrailerBytes) {
    return SegmentCorrupt(object, "the footer's length is wrong");
  }
  // The length is covered too.
  const std::string_view covered =
      end.substr(end.size() - kTrailerBytes - length, length + sizeof(length));
  if (Crc32c(covered) != crc32c) {
    return SegmentCorrupt(object, "the footer does not match its checksum");
  }

  Decoder in(covered.substr(0, length));
  Footer footer;
  footer.entries = in.Fixed<uint64_t>();
  footer.rows = in.Fixed<uint64_t>();
  footer.vectors = in.Fixed<uint64_t>();
  for (auto left = in.Fixed<uint32_t>(); left > 0 && in.ok(); --left) {
    Section s;
    s.kind = static_cast<SectionKind>(in.Fixed<uint32_t>());
    s.crc32c = in.Fixed<uint32_t>();
    s.offset = in.Fixed<uint64_t>();
    s.length = in.Fixed<uint64_t>();
    footer.sections.push_back(s);
  }
  if (!in.ok()) return SegmentCorrupt(object, "the footer is incomplete");
  for (const Section& s : footer.sections) {
    if (IsKnown(s) && (s.offset > size || s.length > size - s.offset)) {
      return SegmentCorrupt(object, "a section lies outside the file");
    }
  }
  return footer;
}

absl::Status CheckSection(const Section& section, std::string_view covered,
                          std::string_view object) {
  if (SectionCrc(section.kind, covered) == section.crc32c) return absl::OkStatus();
  return SegmentCorrupt(object, absl::StrCat("section ", static_cast<uint32_t>(section.kind),
                                             " does not match its checksum"));
}

absl::StatusOr<uint32_t> ReadHeader(std::string_view bytes, std::string_view object) {
  Decoder header(bytes);
  if (header.Bytes(kHeaderMagic.size()) != kHeaderMagic) {
    return SegmentCorrupt(object, "no header");
  }
  const auto version = header.Fixed<uint32_t>();
  const auto dimension = header.Fixed<uint32_t>();
  if (!header.ok()) return SegmentCorrupt(object, "the header is incomplete");
  if (version != kFormatVersion) {
    return absl::FailedPreconditionError(absl::StrCat(std::string(object), ": segment format ",
                                                      version, "; this program reads ",
                                                      kFormatVersion));
  }
  return dimension;
}

absl::StatusOr<Layout> ReadLayout(std::string_view file, std::string_view object) {
  SLUICE_ASSIGN_OR_RETURN(Footer footer, ReadFooter(file, file.size(), object));
  for (const Section& s : footer.sections) {
    if (!IsKnown(s)) continue;
    SLUICE_RETURN_IF_ERROR(CheckSection(s, file.substr(s.offset, s.length), object));
  }
  Layout layout{.dimension = 0, .footer = std::move(footer)};
  SLUICE_ASSIGN_OR_RETURN(layout.dimension,
                          ReadHeader(layout.Bytes(SectionKind::kHeader, file), object));
  return layout;
}

absl::Status SegmentCorrupt(std::string_view object, std::string_view what) {
  return MakeError(Reason::SEGMENT_CORRUPT,
                   std::string("segment ").append(object).append(": ").append(what),
                   {{"object", std::string(object)}});
}

std::string EncodeRow(const Row& row) {
  std::string out;
  PutFixed(&out, kRowVersion);
  PutFixed(&out, static_cast<uint8_t>((row.document ? kHasDocument : 0) | (row.uri ? kHasUri : 0) |
                                      (row.pending_embedding ? kPendingEmbedding : 0)));
  PutFixed(&out, row.seq_id.value);
  PutBytes(&out, row.id);
  if (row.document) PutBytes(&out, *row.document);
  if (row.uri) PutBytes(&out, *row.uri);
  PutFixed(&out, static_cast<uint32_t>(row.metadata.size()));
  for (const v1::MetadataEntry& entry : row.metadata) {
    PutBytes(&out, entry.key());
    PutValue(&out, entry.value());
  }
  return out;
}

bool DecodeRow(std::string_view value, Row* row) {
  Decoder in(value);
  if (in.Fixed<uint8_t>() != kRowVersion) return false;
  const auto flags = in.Fixed<uint8_t>();
  if ((flags & ~kAllFlags) != 0) return false;
  *row = {};
  row->pending_embedding = (flags & kPendingEmbedding) != 0;
  row->seq_id = SeqId(in.Fixed<uint64_t>());
  row->id = TakeBytes(in);
  if (flags & kHasDocument) row->document = TakeBytes(in);
  if (flags & kHasUri) row->uri = TakeBytes(in);
  for (auto left = in.Fixed<uint32_t>(); left > 0 && in.ok(); --left) {
    v1::MetadataEntry& entry = row->metadata.emplace_back();
    entry.set_key(std::string(TakeBytes(in)));
    if (!TakeValue(in, entry.mutable_value())) return false;
  }
  return in.ok() && in.rest().empty();
}

}  // namespace sluice
