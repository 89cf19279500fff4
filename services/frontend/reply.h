// What the answers to reads are made of. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/errors/errors.h"
#include "common/record/fields.h"
#include "common/record/fold.h"
#include "services/frontend/reads.h"
#include "sluice/v1/frontend.pb.h"

namespace sluice::frontend {

// INVALID_REQUEST, naming the field of a request that is at fault.
inline absl::Status Invalid(std::string_view field, std::string_view what) {
  return InvalidField(Place{}, field, what);
}

absl::Status CheckLevel(const v1::ReadLevel& level);

// The row as callers see it: its id, and what `include` asks for. Takes from `row`.
void FillRow(Row& row, const v1::Include& include, v1::Row* out);

// Sums up the bytes of a reply that ends early for no size.
class ReplySize {
 public:
  // TOO_LARGE once the sum is more than kMaxReplyBytes.
  absl::Status Add(uint64_t bytes) {
    bytes_ += bytes + kBytesBesides;
    if (bytes_ <= kMaxReplyBytes) return absl::OkStatus();
    return MakeError(Reason::TOO_LARGE,
                     absl::StrCat("the answer would exceed ", kMaxReplyBytes,
                                  " bytes: ask for fewer rows, or include less"),
                     {{"limit", "reply.bytes"},
                      {"max", absl::StrCat(kMaxReplyBytes)},
                      {"actual", absl::StrCat(bytes_)}});
  }

 private:
  // Tag and length of a row, and of a hit around it, with its distance.
  static constexpr uint64_t kBytesBesides = 16;
  uint64_t bytes_ = 0;
};

template <class Response>
void SetAsOf(const View& view, Response* response) {
  response->set_as_of_seq_id(view.as_of().value);
  response->set_incarnation(view.incarnation().value);
}

}  // namespace sluice::frontend
