/// Reads NumPy's .npz archives, zip files of .npy arrays. Needs libzip (component npz).
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/io/npy.hpp>
#include <moevit/io/tensor_file.hpp>

#include <zip.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

struct NpzOptions {
  NpyOptions npy;
  std::uint64_t members = 100'000;
  std::uint64_t total_bytes = std::uint64_t{8} << 30;  // of all arrays once unpacked
};

namespace detail {

/// An open archive and the member that is being read.
class NpzReader {
 public:
  explicit NpzReader(const std::filesystem::path& path) : path_(path) {
    if (!std::filesystem::is_regular_file(path)) fail(path.string(), ": no such file, or not a regular one");
    constexpr std::uintmax_t smallest_archive = 22;  // libzip takes an empty file for an empty archive
    if (std::filesystem::file_size(path) < smallest_archive) fail(path.string(), ": too short for a zip archive");
    int code = 0;
    archive_.reset(zip_open(path.string().c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code));
    if (archive_) return;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string message = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(path.string(), ": not a sound zip archive: ", message);
  }

  std::uint64_t members() const { return static_cast<std::uint64_t>(zip_get_num_entries(archive_.get(), 0)); }

  /// What the directory says of a member, after the checks that need no unpacking.
  zip_stat_t stat(std::uint64_t member) const {
    zip_stat_t stat;
    if (zip_stat_index(archive_.get(), member, ZIP_FL_ENC_RAW, &stat) != 0)
      fail(path_.string(), ": member ", member, ": ", zip_strerror(archive_.get()));
    constexpr zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if ((stat.valid & needed) != needed) fail(path_.string(), ": member ", member, ": directory entry is not complete");
    const std::string where = this->where(stat);
    if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) && stat.encryption_method != ZIP_EM_NONE)
      fail(where, ": is encrypted");
    if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE)
      fail(where, ": compression method ", stat.comp_method, ", expected stored (0) or deflated (8)");
    constexpr std::uint64_t deflate_ratio = 1100;  // deflate reaches 1032
    if (stat.size / deflate_ratio > stat.comp_size)
      fail(where, ": claims to unpack to ", stat.size, " bytes from ", stat.comp_size);
    return stat;
  }

  std::string where(const zip_stat_t& stat) const { return path_.string() + ": member '" + stat.name + "'"; }

  /// Unpacks a member; memory follows what really comes out and never passes the size the array's header gives.
  std::pair<NpyHeader, std::vector<std::byte>> read(std::uint64_t member, const zip_stat_t& stat,
                                                    const NpyOptions& options) {
    const std::string where = this->where(stat);
    file_.reset(zip_fopen_index(archive_.get(), member, 0));
    if (!file_) fail(where, ": ", zip_strerror(archive_.get()));
    std::vector<std::byte> bytes;
    read_up_to(bytes, std::min<std::uint64_t>(stat.size, max_npy_header + 12), where);
    NpyHeader header = parse_npy_header(bytes, where, options.opaque_as_bfloat16);
    const std::uint64_t expected = std::uint64_t{header.header_bytes} + header.data_bytes;
    if (expected != stat.size)
      fail(where, ": expected ", expected, " bytes for ", header.type, " ", to_string(header.shape),
           ", the directory says ", stat.size);
    constexpr std::uint64_t ahead = std::uint64_t{64} << 20;  // a size that is merely claimed takes no more than this
    bytes.reserve(static_cast<std::size_t>(std::min(expected, stat.comp_size + ahead) + 1));
    read_up_to(bytes, expected, where);
    if (bytes.size() != expected) fail(where, ": ends after ", bytes.size(), " of ", expected, " bytes");
    read_up_to(bytes, expected + 1, where);  // only at the end does libzip compare the checksum
    if (bytes.size() != expected) fail(where, ": unpacks to more than the ", expected, " bytes of its array");
    return {std::move(header), std::move(bytes)};
  }

 private:
  /// Appends unpacked bytes until there are `size` of them or the member ends.
  void read_up_to(std::vector<std::byte>& bytes, std::uint64_t size, const std::string& where) {
    constexpr std::uint64_t step = std::uint64_t{1} << 20;
    while (bytes.size() < size) {
      const std::size_t have = bytes.size();
      bytes.resize(have + static_cast<std::size_t>(std::min(size - have, step)));  // grows with what came out so far
      const zip_int64_t got = zip_fread(file_.get(), bytes.data() + have, bytes.size() - have);
      if (got < 0) fail(where, ": ", zip_file_strerror(file_.get()));
      bytes.resize(have + static_cast<std::size_t>(got));
      if (got == 0) return;
    }
  }

  struct Close {
    void operator()(zip_t* archive) const { zip_discard(archive); }
    void operator()(zip_file_t* file) const { zip_fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<zip_t, Close> archive_;
  std::unique_ptr<zip_file_t, Close> file_;  // closed before its archive
};

/// The tensor's name: the member's without ".npy". Throws Error for names that are no arrays or climb out of the
/// archive.
inline std::string npz_tensor_name(const std::string& member, const std::string& where) {
  if (!member.ends_with(".npy")) fail(where, ": is not a .npy array");
  if (member.size() > 1024) fail(where, ": name of more than 1024 bytes");
  if (member.front() == '/' || ("/" + member + "/").find("/../") != std::string::npos)
    fail(where, ": unacceptable name");
  return member.substr(0, member.size() - 4);
}

}  // namespace detail

/// Reads all arrays of an archive into memory. Throws Error for archives that are damaged, encrypted, hold anything but
/// .npy arrays or two members of one name, and for members that unpack to another size than their header gives.
inline TensorFile read_npz(const std::filesystem::path& path, const NpzOptions& options = {}) {
  detail::NpzReader reader(path);
  if (reader.members() > options.members)
    fail(path.string(), ": ", reader.members(), " members, the limit is ", options.members);
  auto storage = std::make_shared<std::vector<std::vector<std::byte>>>();
  std::vector<StoredTensor> tensors;
  std::uint64_t total = 0;
  for (std::uint64_t member = 0; member < reader.members(); ++member) {
    const zip_stat_t stat = reader.stat(member);
    const std::string name = detail::npz_tensor_name(stat.name, reader.where(stat));
    if (stat.size > options.total_bytes - total)
      fail(path.string(), ": unpacks to more than ", options.total_bytes, " bytes");
    total += stat.size;
    auto [header, bytes] = reader.read(member, stat, options.npy);
    const std::span<const std::byte> all(bytes);
    std::size_t data_begin = header.header_bytes;
    if (detail::needs_rewriting(header)) {
      bytes = detail::to_row_major(header, all.subspan(data_begin));
      data_begin = 0;
    }
    storage->push_back(std::move(bytes));
    tensors.push_back(
        {name, header.type, header.shape, std::span<const std::byte>(storage->back()).subspan(data_begin)});
  }
  return TensorFile(path, std::move(storage), std::move(tensors));
}

}  // namespace moevit
