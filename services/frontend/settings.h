// What can be set of a frontend, under `frontend.`; README.md has the table.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/embed/settings.h"
#include "common/objects/settings.h"
#include "common/server/settings.h"

namespace sluice::frontend {

struct FrontendSettings {
  std::string log_address;
  std::string objects;
  // Declared by whoever declares this: a process has them once, for all that it is.
  ObjectSettings store;
  uint64_t timeout_ms = 0;
  uint64_t read_threads = 0;
  uint64_t max_pending_reads = 0;
  uint64_t max_pending_write_bytes = 0;
  uint64_t max_view_bytes = 0;
  std::map<std::string, embed::EmbedderSettings> embedders;

  void Declare(server::Settings& settings, std::string default_log_address);
};

}  // namespace sluice::frontend
