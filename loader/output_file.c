#include "loader/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    fresh->fd = open(fresh->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fresh->fd < 0) {
        st = fail_with_errno(fresh, err);
        goto cleanup;
    }
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

sa2_status sa2_output_file_commit(sa2_output_file *file, sa2_error *err)
{
    if (fsync(file->fd) != 0 && errno != EINVAL) /* EINVAL: a file system that has no such thing */
        return fail_with_errno(file, err);
    int closed = close(file->fd);
    file->fd = -1;
    if (closed != 0 || rename(file->partial, file->path) != 0)
        return fail_with_errno(file, err);
    free(file->partial);
    file->partial = NULL;
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
