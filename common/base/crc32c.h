// CRC32C (Castagnoli), as of iSCSI (RFC 3720), Ext4 and RocksDB; by Intel's ISA-L.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

// The CRC of `bytes`; with `before` = the CRC of what precedes them, of the whole.
uint32_t Crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace sluice
