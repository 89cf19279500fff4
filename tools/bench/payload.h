// Records to push: random vectors, short ids and documents. Floats are random bits of finite size,
// so nothing compresses.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "sluice/v1/log.pb.h"

namespace sluice::bench {

struct Payload {
  uint32_t dimension = 384;
  uint32_t document_bytes = 64;
};

// `count` requests of `records` each, without request_id. The same seed gives the same bytes.
std::vector<v1::PushLogsRequest> MakePushes(const Payload& payload,
                                            const std::string& collection_id, size_t count,
                                            size_t records, uint64_t seed);

}  // namespace sluice::bench
