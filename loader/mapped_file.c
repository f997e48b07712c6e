#define _DEFAULT_SOURCE /* madvise */
#include "loader/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

sa2_status sa2_mapped_file_open(sa2_mapped_file *file, const char *path, sa2_error *err)
{
    sa2_status st = SA2_OK;
    struct stat info;
    /* Without O_NONBLOCK the open of a named pipe would wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0) {
        st = sa2_fail(err, SA2_ERR_IO, "%s: %s", path, strerror(errno));
        goto cleanup;
    }
    if (!S_ISREG(info.st_mode)) {
        st = sa2_fail(err, SA2_ERR_IO, "%s: a file expected, %s found", path,
                      S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
        goto cleanup;
    }
    if (info.st_size < 1) {
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: the file is empty", path);
        goto cleanup;
    }
    size_t bytes = (size_t)info.st_size;
    void *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "%s: %zu bytes cannot be mapped: %s", path, bytes,
                      strerror(errno));
        goto cleanup;
    }
    *file = (sa2_mapped_file){.data = data, .bytes = bytes};

cleanup:
    close(fd);
    return st;
}

void sa2_mapped_advise(const void *data, size_t bytes, sa2_mapped_advice advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)data;
    uintptr_t end = first + bytes;
    if (advice == SA2_MAPPED_SOON) {
        first = first / page * page;
    } else { /* a page shared with a neighbour stays */
        first = (first + page - 1) / page * page;
        end = end / page * page;
    }
    if (first < end)
        madvise((void *)first, end - first,
                advice == SA2_MAPPED_SOON ? MADV_WILLNEED : MADV_DONTNEED);
}

void sa2_mapped_file_close(sa2_mapped_file *file)
{
    if (file->data != NULL)
        munmap((void *)(uintptr_t)file->data, file->bytes);
    *file = (sa2_mapped_file){0};
}
