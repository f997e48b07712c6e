#include "loader/partial_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char suffix[] = ".partial";

static void partial_path(const sa2_partial_file *file, char *path)
{
    size_t n = strlen(file->path);
    memcpy(path, file->path, n);
    memcpy(path + n, suffix, sizeof suffix);
}

sa2_status sa2_partial_file_create(sa2_partial_file *file, const char *path, sa2_error *err)
{
    char partial[SA2_PATH_BYTES + sizeof suffix];
    *file = (sa2_partial_file){0};
    if (strlen(path) >= sizeof file->path)
        return sa2_fail(err, SA2_ERR_IO, "%.200s...: a path of %zu bytes, %d can be used", path,
                        strlen(path), SA2_PATH_BYTES - 1);
    memcpy(file->path, path, strlen(path) + 1);
    partial_path(file, partial);
    file->file = fopen(partial, "wb");
    if (file->file == NULL)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", partial, strerror(errno));
    return SA2_OK;
}

sa2_status sa2_partial_file_append(sa2_partial_file *file, const void *data, size_t bytes,
                                   sa2_error *err)
{
    if (bytes > 0 && fwrite(data, 1, bytes, file->file) != bytes)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s after %llu bytes", file->path, strerror(errno),
                        (unsigned long long)file->bytes);
    file->bytes += bytes;
    return SA2_OK;
}

sa2_status sa2_partial_file_finish(sa2_partial_file *file, sa2_error *err)
{
    char partial[SA2_PATH_BYTES + sizeof suffix];
    partial_path(file, partial);
    int closed = fclose(file->file);
    file->file = NULL;
    if (closed == 0 && rename(partial, file->path) == 0)
        return SA2_OK;
    sa2_status st = sa2_fail(err, SA2_ERR_IO, "%s: %s", file->path, strerror(errno));
    unlink(partial);
    return st;
}

void sa2_partial_file_destroy(sa2_partial_file *file)
{
    char partial[SA2_PATH_BYTES + sizeof suffix];
    if (file->file == NULL)
        return;
    partial_path(file, partial);
    fclose(file->file);
    unlink(partial);
    file->file = NULL;
}
