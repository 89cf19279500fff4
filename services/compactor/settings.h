// The compactor's settings, each declared once.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/embed/settings.h"
#include "common/objects/settings.h"
#include "common/server/settings.h"

namespace sluice::compactor {

struct CompactorSettings {
  std::string log_address;
  std::string objects;
  // Declared by whoever declares this: a process has them once, for all that it is.
  ObjectSettings store;
  uint64_t workers = 0;
  uint64_t merge_workers = 0;
  uint64_t graph_threads = 0;
  uint64_t lease_ms = 0;
  uint64_t claim_wait_ms = 0;
  uint64_t turn_ms = 0;
  uint64_t batch_bytes = 0;
  uint64_t batch_records = 0;
  uint64_t cache_bytes = 0;
  uint64_t garbage_interval_ms = 0;
  uint64_t embed_patience_ms = 0;
  uint64_t owe_after_ms = 0;
  std::string vector_cache;
  uint64_t vector_cache_bytes = 0;
  std::map<std::string, embed::EmbedderSettings> embedders;
  std::string fault;

  void Declare(server::Settings& settings, std::string default_log_address);
};

}  // namespace sluice::compactor
