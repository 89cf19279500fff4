#include "common/server/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace sluice::server {
namespace {

class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest() { Write("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\n"); }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  Allowance Get() { return ProcessAllowance(root_); }

  const std::filesystem::path root_ =
      std::filesystem::path(::testing::TempDir()) / ("cgroup_test." + std::to_string(getpid()));
};

TEST_F(CgroupTest, WithoutLimitsTheWholeMachineIsOurs) {
  EXPECT_EQ(Get().memory_bytes, 16ULL << 30);
  EXPECT_GE(Get().cpus, 1U);
}

TEST_F(CgroupTest, VersionTwoLimitsInTheGroupAndAboveItCount) {
  Write("proc/self/cgroup", "0::/pods/one\n");
  Write("sys/fs/cgroup/pods/one/memory.max", "max\n");
  Write("sys/fs/cgroup/pods/memory.max", "1073741824\n");
  Write("sys/fs/cgroup/pods/one/cpu.max", "50000 100000\n");
  EXPECT_EQ(Get().memory_bytes, 1ULL << 30);
  EXPECT_EQ(Get().cpus, 1U);
}

TEST_F(CgroupTest, InAContainerTheLimitsStandAtTheMountsRoot) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "536870912\n");
  Write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(Get().memory_bytes, 512ULL << 20);
}

TEST_F(CgroupTest, VersionOneLimitsCount) {
  Write("proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes",
        "268435456\n");  // the group's own path is not visible
  Write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "100000\n");
  Write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Get().memory_bytes, 256ULL << 20);
  EXPECT_EQ(Get().cpus, 1U);
}

TEST_F(CgroupTest, VersionOneWithoutLimitsSaysMinusOneAndHugeNumbers) {
  Write("proc/self/cgroup", "4:memory:/\n1:cpu:/\n");
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Get().memory_bytes, 16ULL << 30);
  EXPECT_GE(Get().cpus, 1U);
}

TEST(CgroupOfThisMachineTest, TheRealFilesAreRead) {
  const Allowance allowance = ProcessAllowance();
  EXPECT_GT(allowance.memory_bytes, 1U << 20);
  EXPECT_GE(allowance.cpus, 1U);
}

}  // namespace
}  // namespace sluice::server
