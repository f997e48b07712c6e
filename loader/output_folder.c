#define _XOPEN_SOURCE 700 /* nftw */
#include "loader/output_folder.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Missing or empty. */
static sa2_status check_place(const char *folder, sa2_error *err)
{
    DIR *entries = opendir(folder);
    if (entries == NULL && errno == ENOENT)
        return SA2_OK;
    if (entries == NULL)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", folder, strerror(errno));
    int n = 0;
    while (readdir(entries) != NULL)
        n++;
    closedir(entries);
    if (n > 2) /* "." and ".." */
        return sa2_fail(err, SA2_ERR_ARG, "%s: a new or empty folder expected, %d entries found",
                        folder, n - 2);
    return SA2_OK;
}

static sa2_status check_room(const sa2_output_folder *folder, int64_t bytes, sa2_error *err)
{
    struct statvfs disk;
    if (statvfs(folder->path, &disk) != 0)
        return SA2_OK; /* then a full disk shows when it is full */
    double free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    if (free_bytes < (double)bytes)
        return sa2_fail(err, SA2_ERR_IO, "%s: %.2f GB are needed, %.2f GB free", folder->name,
                        (double)bytes / 1e9, free_bytes / 1e9);
    return SA2_OK;
}

sa2_status sa2_output_folder_create(sa2_output_folder *folder, const char *name, int64_t bytes,
                                    sa2_error *err)
{
    *folder = (sa2_output_folder){0};
    sa2_status st = check_place(name, err);
    if (st != SA2_OK)
        return st;
    size_t length = strlen(name);
    while (length > 1 && name[length - 1] == '/')
        length--;
    int n = snprintf(folder->path, sizeof folder->path, "%.*s.partial-%ld", (int)length, name,
                     (long)getpid());
    if (n < 0 || (size_t)n >= sizeof folder->path) {
        folder->path[0] = '\0';
        return sa2_fail(err, SA2_ERR_ARG, "%s: the path is too long", name);
    }
    memcpy(folder->name, name, length);
    folder->name[length] = '\0';
    if (mkdir(folder->path, 0777) != 0) {
        st = sa2_fail(err, SA2_ERR_IO, "%s: %s", folder->path, strerror(errno));
        folder->path[0] = '\0'; /* nothing of ours to remove */
        return st;
    }
    return check_room(folder, bytes, err);
}

sa2_status sa2_output_folder_add(const sa2_output_folder *folder, const char *inside,
                                 sa2_error *err)
{
    char path[SA2_FOLDER_BYTES + 256];
    snprintf(path, sizeof path, "%s/%s", folder->path, inside);
    if (mkdir(path, 0777) != 0)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", path, strerror(errno));
    return SA2_OK;
}

sa2_status sa2_output_folder_commit(sa2_output_folder *folder, sa2_error *err)
{
    if (rename(folder->path, folder->name) != 0)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", folder->name, strerror(errno));
    folder->path[0] = '\0';
    return SA2_OK;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

void sa2_output_folder_destroy(sa2_output_folder *folder)
{
    if (folder->path[0] != '\0')
        nftw(folder->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    folder->path[0] = '\0';
}
