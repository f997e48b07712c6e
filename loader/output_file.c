#define _DEFAULT_SOURCE /* flock */
#include "loader/output_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct sa2_output_file {
    int fd; /* -1: closed */
    char *path, *partial;
};

static char *joined(const char *path, const char *end)
{
    size_t n = strlen(path) + strlen(end) + 1;
    char *text = malloc(n);
    if (text != NULL)
        snprintf(text, n, "%s%s", path, end);
    return text;
}

static sa2_status fail_with_errno(const sa2_output_file *file, sa2_error *err)
{
    return sa2_fail(err, SA2_ERR_IO, "%s: %s", file->path, strerror(errno));
}

/* A rename would put a file in place of a device or a folder. */
static sa2_status check_place(const sa2_output_file *file, sa2_error *err)
{
    struct stat info;
    if (stat(file->path, &info) != 0 || S_ISREG(info.st_mode))
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_IO, "%s: a file expected, %s found", file->path,
                    S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
}

/* The lock goes with the descriptor. Who got it only after the other one had finished holds the
 * finished file, no longer under this name. */
static sa2_status open_partial(sa2_output_file *file, sa2_error *err)
{
    struct stat held, named;
    sa2_status st = check_place(file, err);
    if (st != SA2_OK)
        return st;
    file->fd = open(file->partial, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file->fd < 0)
        return fail_with_errno(file, err);
    bool locked = flock(file->fd, LOCK_EX | LOCK_NB) == 0;
    bool busy = locked ? fstat(file->fd, &held) != 0 || stat(file->partial, &named) != 0 ||
                             held.st_ino != named.st_ino || held.st_dev != named.st_dev
                       : errno == EWOULDBLOCK;
    if (!busy && ftruncate(file->fd, 0) == 0) /* a file system without locks is no reason to fail */
        return SA2_OK;
    st = busy ? sa2_fail(err, SA2_ERR_IO, "%s: another process is writing it", file->path)
              : fail_with_errno(file, err);
    close(file->fd);
    file->fd = -1;
    free(file->partial); /* not ours to remove */
    file->partial = NULL;
    return st;
}

sa2_status sa2_output_file_create(sa2_output_file **file, const char *path, sa2_error *err)
{
    sa2_status st = SA2_OK;
    sa2_output_file *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", path);
    fresh->fd = -1;
    fresh->path = joined(path, "");
    fresh->partial = joined(path, ".partial");
    if (fresh->path == NULL || fresh->partial == NULL) {
        st = sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", path);
        goto cleanup;
    }
    st = open_partial(fresh, err);
    if (st != SA2_OK)
        goto cleanup;
    *file = fresh;
    fresh = NULL;

cleanup:
    sa2_output_file_destroy(fresh);
    return st;
}

sa2_status sa2_output_file_write(sa2_output_file *file, const void *data, size_t bytes,
                                 sa2_error *err)
{
    const char *from = data;
    assert(file != NULL);
    while (bytes > 0) {
        ssize_t n = write(file->fd, from, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_with_errno(file, err);
        from += n;
        bytes -= (size_t)n;
    }
    return SA2_OK;
}

sa2_status sa2_output_file_write_at(sa2_output_file *file, int64_t offset, const void *data,
                                    size_t bytes, sa2_error *err)
{
    const char *from = data;
    while (bytes > 0) {
        ssize_t n = pwrite(file->fd, from, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_with_errno(file, err);
        from += n;
        offset += n;
        bytes -= (size_t)n;
    }
    return SA2_OK;
}

const char *sa2_output_file_partial(const sa2_output_file *file)
{
    return file->partial;
}

/* Without it the new name may be gone after a crash; a file system may have no such thing. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    int n = snprintf(folder, sizeof folder, "%.*s", slash != NULL ? (int)(slash - path) + 1 : 1,
                     slash != NULL ? path : ".");
    int fd = n > 0 && n < (int)sizeof folder ? open(folder, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

sa2_status sa2_output_file_commit(sa2_output_file *file, sa2_error *err)
{
    assert(file != NULL);
    if (fsync(file->fd) != 0 && errno != EINVAL) /* EINVAL: a file system that has no such thing */
        return fail_with_errno(file, err);
    int closed = close(file->fd);
    file->fd = -1;
    if (closed != 0 || rename(file->partial, file->path) != 0)
        return fail_with_errno(file, err);
    free(file->partial);
    file->partial = NULL;
    sync_folder(file->path);
    return SA2_OK;
}

void sa2_output_file_destroy(sa2_output_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0)
        close(file->fd);
    if (file->partial != NULL)
        unlink(file->partial);
    free(file->partial);
    free(file->path);
    free(file);
}

sa2_status sa2_write_whole_file(const char *path, const void *data, size_t bytes, sa2_error *err)
{
    sa2_output_file *file = NULL;
    sa2_status st = sa2_output_file_create(&file, path, err);
    if (st == SA2_OK)
        st = sa2_output_file_write(file, data, bytes, err);
    if (st == SA2_OK)
        st = sa2_output_file_commit(file, err);
    sa2_output_file_destroy(file);
    return st;
}
