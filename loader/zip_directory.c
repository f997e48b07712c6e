#include "loader/zip_directory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/limits.h"
#include "loader/little_endian.h"

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    FLAG_ENCRYPTED = 1 << 0,
    FLAG_SIZES_FOLLOW = 1 << 3, /* the local header has no sizes, they stand behind the data */
    FLAG_STRONG_ENCRYPTION = 1 << 6,
    FLAG_MASKED = 1 << 13,
    EXTRA_ZIP64 = 1,
};

static const uint32_t END_MARK = 0x06054b50, END64_MARK = 0x06064b50, LOCATOR_MARK = 0x07064b50,
                      CENTRAL_MARK = 0x02014b50, LOCAL_MARK = 0x04034b50;
static const uint32_t SEE_ZIP64 = 0xffffffff; /* in place of a 32-bit size or offset */
static const uint16_t SEE_ZIP64_COUNT = 0xffff;

/* Where the end record says that the directory is. */
typedef struct directory_place {
    uint64_t first, bytes, n_entries;
} directory_place;

/* What one header says about an entry. */
typedef struct entry_header {
    uint16_t flags, method;
    uint64_t packed, bytes, local;
    const unsigned char *name;
    size_t name_bytes;
} entry_header;

/* ---- end record ---- */

/* The zip64 end record that the locator at `locator` points to; it ends where the locator begins. */
static sa2_status read_end64(const unsigned char *file, size_t locator, directory_place *place,
                             sa2_error *err)
{
    uint64_t at = sa2_le64(file + locator + 8);
    if (sa2_le32(file + locator + 4) != 0 || sa2_le32(file + locator + 16) != 1)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "zip: an archive in several parts");
    if (locator < END64_BYTES || at > locator - END64_BYTES)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "zip64: end record at byte %llu, its locator is at byte %zu",
                        (unsigned long long)at, locator);
    const unsigned char *end = file + (size_t)at;
    if (sa2_le32(end) != END64_MARK)
        return sa2_fail(err, SA2_ERR_FORMAT, "zip64: no end record at byte %llu",
                        (unsigned long long)at);
    if (sa2_le64(end + 4) != locator - (size_t)at - 12)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "zip64: end record of %llu bytes, %zu lie before its locator",
                        (unsigned long long)sa2_le64(end + 4), locator - (size_t)at - 12);
    if (sa2_le32(end + 16) != 0 || sa2_le32(end + 20) != 0 ||
        sa2_le64(end + 24) != sa2_le64(end + 32))
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "zip: an archive in several parts");
    *place = (directory_place){
        .n_entries = sa2_le64(end + 32), .bytes = sa2_le64(end + 40), .first = sa2_le64(end + 48)};
    if (place->first > at || place->bytes != at - place->first)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "zip: directory of %llu bytes at byte %llu, its end record is at byte %llu",
                        (unsigned long long)place->bytes, (unsigned long long)place->first,
                        (unsigned long long)at);
    return SA2_OK;
}

/* The end record is the last thing in the file but for a comment, whose length it gives. */
static sa2_status find_end(const unsigned char *file, size_t n, size_t *at, sa2_error *err)
{
    for (size_t comment = 0; comment <= UINT16_MAX && comment + END_BYTES <= n; comment++) {
        size_t i = n - END_BYTES - comment;
        if (sa2_le32(file + i) == END_MARK && sa2_le16(file + i + 20) == comment) {
            *at = i;
            return SA2_OK;
        }
    }
    return sa2_fail(err, SA2_ERR_FORMAT,
                    "zip: no end record in %zu bytes: not a zip archive, or cut short", n);
}

/* The 32-bit record and the zip64 one, where there is one, must tell the same. */
static bool agrees(uint64_t small, uint64_t sentinel, uint64_t whole)
{
    return small == sentinel || small == whole;
}

static sa2_status find_directory(const unsigned char *file, size_t n, directory_place *place,
                                 sa2_error *err)
{
    size_t at = 0;
    sa2_status st = find_end(file, n, &at, err);
    if (st != SA2_OK)
        return st;
    const unsigned char *end = file + at;
    if (sa2_le16(end + 4) != 0 || sa2_le16(end + 6) != 0 || sa2_le16(end + 8) != sa2_le16(end + 10))
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "zip: an archive in several parts");
    directory_place small = {
        .n_entries = sa2_le16(end + 10), .bytes = sa2_le32(end + 12), .first = sa2_le32(end + 16)};

    if (at >= LOCATOR_BYTES && sa2_le32(end - LOCATOR_BYTES) == LOCATOR_MARK) {
        st = read_end64(file, at - LOCATOR_BYTES, place, err);
        if (st == SA2_OK && (!agrees(small.n_entries, SEE_ZIP64_COUNT, place->n_entries) ||
                             !agrees(small.bytes, SEE_ZIP64, place->bytes) ||
                             !agrees(small.first, SEE_ZIP64, place->first)))
            st = sa2_fail(err, SA2_ERR_FORMAT,
                          "zip64: %llu entries, %llu bytes at byte %llu; the plain end record says "
                          "%llu, %llu, %llu",
                          (unsigned long long)place->n_entries, (unsigned long long)place->bytes,
                          (unsigned long long)place->first, (unsigned long long)small.n_entries,
                          (unsigned long long)small.bytes, (unsigned long long)small.first);
        return st;
    }
    if (small.first > at || small.bytes != at - (size_t)small.first)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "zip: directory of %llu bytes at byte %llu, its end record is at byte %zu",
                        (unsigned long long)small.bytes, (unsigned long long)small.first, at);
    *place = small;
    return SA2_OK;
}

/* ---- entries ---- */

/* The zip64 extra field holds, in this order, those of the three numbers that the header leaves
 * out. `with_offset` is false for a local header, which has none. */
static sa2_status read_extra(const unsigned char *extra, size_t n, entry_header *h,
                             bool with_offset, sa2_error *err)
{
    uint64_t *missing[3];
    size_t n_missing = 0;
    if (h->bytes == SEE_ZIP64)
        missing[n_missing++] = &h->bytes;
    if (h->packed == SEE_ZIP64)
        missing[n_missing++] = &h->packed;
    if (with_offset && h->local == SEE_ZIP64)
        missing[n_missing++] = &h->local;
    bool found = false;
    while (n > 0) {
        size_t size = n < 4 ? 0 : sa2_le16(extra + 2);
        if (n < 4 || size > n - 4)
            return sa2_fail(err, SA2_ERR_FORMAT, "extra field of %zu bytes, %zu are left", size, n);
        if (sa2_le16(extra) == EXTRA_ZIP64) {
            if (found || size < 8 * n_missing)
                return sa2_fail(err, SA2_ERR_FORMAT,
                                "zip64 field of %zu bytes for %zu numbers of 8 bytes", size,
                                n_missing);
            for (size_t i = 0; i < n_missing; i++)
                *missing[i] = sa2_le64(extra + 4 + 8 * i);
            found = true;
        }
        extra += 4 + size;
        n -= 4 + size;
    }
    if (n_missing > 0 && !found)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "sizes are said to be in a zip64 field, there is none");
    return SA2_OK;
}

static sa2_status judge_entry(const entry_header *h, sa2_error *err)
{
    if (h->flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED))
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "encrypted");
    if (h->method != 0)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "compressed (method %u), only stored can be read",
                        h->method);
    if (h->packed != h->bytes)
        return sa2_fail(err, SA2_ERR_FORMAT, "stored, but %llu bytes packed and %llu unpacked",
                        (unsigned long long)h->packed, (unsigned long long)h->bytes);
    return SA2_OK;
}

/* Follows the entry's offset to its local header and data, which lie before the directory at
 * `limit`. */
static sa2_status find_data(const unsigned char *file, uint64_t limit, const entry_header *h,
                            sa2_zip_entry *entry, sa2_error *err)
{
    if (limit < LOCAL_BYTES || h->local > limit - LOCAL_BYTES)
        return sa2_fail(err, SA2_ERR_FORMAT, "header at byte %llu, the directory is at byte %llu",
                        (unsigned long long)h->local, (unsigned long long)limit);
    const unsigned char *p = file + (size_t)h->local;
    size_t left = (size_t)(limit - h->local) - LOCAL_BYTES;
    if (sa2_le32(p) != LOCAL_MARK)
        return sa2_fail(err, SA2_ERR_FORMAT, "no header at byte %llu",
                        (unsigned long long)h->local);
    entry_header local = {
        .flags = sa2_le16(p + 6),
        .method = sa2_le16(p + 8),
        .packed = sa2_le32(p + 18),
        .bytes = sa2_le32(p + 22),
        .name = p + LOCAL_BYTES,
        .name_bytes = sa2_le16(p + 26),
    };
    size_t extra = sa2_le16(p + 28);
    if (local.name_bytes > left || extra > left - local.name_bytes)
        return sa2_fail(err, SA2_ERR_FORMAT, "header at byte %llu leaves the file",
                        (unsigned long long)h->local);
    if (local.name_bytes != h->name_bytes || memcmp(local.name, h->name, h->name_bytes) != 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "header at byte %llu has another name",
                        (unsigned long long)h->local);
    sa2_status st = read_extra(local.name + local.name_bytes, extra, &local, false, err);
    if (st != SA2_OK)
        return st;
    bool later = (local.flags & FLAG_SIZES_FOLLOW) != 0 && local.packed == 0 && local.bytes == 0;
    if (local.flags != h->flags || local.method != h->method ||
        (!later && (local.packed != h->packed || local.bytes != h->bytes)))
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "%llu bytes, method %u, flags %u in the directory; %llu, %u, %u in the "
                        "header at byte %llu",
                        (unsigned long long)h->bytes, h->method, h->flags,
                        (unsigned long long)local.bytes, local.method, local.flags,
                        (unsigned long long)h->local);
    left -= local.name_bytes + extra;
    if (h->bytes > left)
        return sa2_fail(err, SA2_ERR_FORMAT, "%llu bytes of data, %zu lie before the directory",
                        (unsigned long long)h->bytes, left);
    *entry = (sa2_zip_entry){.name = (const char *)h->name,
                             .name_bytes = h->name_bytes,
                             .data = local.name + local.name_bytes + extra,
                             .bytes = (size_t)h->bytes};
    return SA2_OK;
}

/* Reads the record at *at and moves on to the next. */
static sa2_status read_entry(const unsigned char *file, const directory_place *place, uint64_t *at,
                             sa2_zip_entry *entry, sa2_error *err)
{
    uint64_t left = place->first + place->bytes - *at;
    const unsigned char *p = file + (size_t)*at;
    if (left < CENTRAL_BYTES || sa2_le32(p) != CENTRAL_MARK)
        return sa2_fail(err, SA2_ERR_FORMAT, "zip: no entry at byte %llu of the directory",
                        (unsigned long long)(*at - place->first));
    entry_header h = {
        .flags = sa2_le16(p + 8),
        .method = sa2_le16(p + 10),
        .packed = sa2_le32(p + 20),
        .bytes = sa2_le32(p + 24),
        .local = sa2_le32(p + 42),
        .name = p + CENTRAL_BYTES,
        .name_bytes = sa2_le16(p + 28),
    };
    size_t extra = sa2_le16(p + 30), comment = sa2_le16(p + 32);
    left -= CENTRAL_BYTES;
    if (h.name_bytes > left || extra > left - h.name_bytes || comment > left - h.name_bytes - extra)
        return sa2_fail(err, SA2_ERR_FORMAT, "zip: the entry at byte %llu leaves the directory",
                        (unsigned long long)(*at - place->first));
    if (h.name_bytes < 1 || h.name_bytes > SA2_LIMIT_ZIP_NAME_BYTES)
        return sa2_fail(err, SA2_ERR_LIMIT,
                        "zip: an entry's name has %zu bytes, 1 to %d can be read", h.name_bytes,
                        SA2_LIMIT_ZIP_NAME_BYTES);
    *at += CENTRAL_BYTES + h.name_bytes + extra + comment;

    sa2_status st = read_extra(h.name + h.name_bytes, extra, &h, true, err);
    if (st == SA2_OK)
        st = judge_entry(&h, err);
    if (st == SA2_OK)
        st = find_data(file, place->first, &h, entry, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "zip: entry %.*s", (int)h.name_bytes, (const char *)h.name);
    return SA2_OK;
}

/* ---- order ---- */

static int compare_names(const void *a, const void *b)
{
    const sa2_zip_entry *x = a, *y = b;
    size_t shorter = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
    int order = memcmp(x->name, y->name, shorter);
    if (order != 0)
        return order;
    return (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static int compare_places(const void *a, const void *b)
{
    const sa2_zip_entry *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

/* The room between the data of two entries must at least hold the header of the second. */
static sa2_status judge_places(const sa2_zip_directory *zip, sa2_error *err)
{
    for (size_t i = 1; i < zip->n_entries; i++) {
        const sa2_zip_entry *a = &zip->entries[i - 1], *b = &zip->entries[i];
        size_t room = (size_t)(b->data - a->data);
        if (room < a->bytes || room - a->bytes < LOCAL_BYTES + b->name_bytes)
            return sa2_fail(err, SA2_ERR_FORMAT, "zip: entries %.*s and %.*s overlap",
                            (int)a->name_bytes, a->name, (int)b->name_bytes, b->name);
    }
    return SA2_OK;
}

static sa2_status judge_names(const sa2_zip_directory *zip, sa2_error *err)
{
    for (size_t i = 1; i < zip->n_entries; i++)
        if (compare_names(&zip->entries[i - 1], &zip->entries[i]) == 0)
            return sa2_fail(err, SA2_ERR_FORMAT, "zip: two entries are called %.*s",
                            (int)zip->entries[i].name_bytes, zip->entries[i].name);
    return SA2_OK;
}

sa2_status sa2_zip_directory_open(sa2_zip_directory *zip, const void *bytes, size_t n,
                                  sa2_error *err)
{
    *zip = (sa2_zip_directory){0};
    const unsigned char *file = bytes;
    directory_place place = {0};
    sa2_status st = find_directory(file, n, &place, err);
    if (st != SA2_OK)
        return st;
    if (place.n_entries > SA2_LIMIT_ZIP_ENTRIES)
        return sa2_fail(err, SA2_ERR_LIMIT, "zip: %llu entries, %d can be read",
                        (unsigned long long)place.n_entries, SA2_LIMIT_ZIP_ENTRIES);
    if (place.n_entries > place.bytes / CENTRAL_BYTES)
        return sa2_fail(err, SA2_ERR_FORMAT, "zip: %llu entries in a directory of %llu bytes",
                        (unsigned long long)place.n_entries, (unsigned long long)place.bytes);
    size_t count = (size_t)place.n_entries;
    st = sa2_arena_create(&zip->memory, count * sizeof *zip->entries, err);
    if (st != SA2_OK)
        return st;
    zip->entries = sa2_arena_take(&zip->memory, count * sizeof *zip->entries);
    zip->n_entries = count;

    uint64_t at = place.first;
    for (size_t i = 0; i < count && st == SA2_OK; i++)
        st = read_entry(file, &place, &at, &zip->entries[i], err);
    if (st == SA2_OK && at != place.first + place.bytes)
        st = sa2_fail(err, SA2_ERR_FORMAT, "zip: %llu bytes behind the last entry of the directory",
                      (unsigned long long)(place.first + place.bytes - at));
    if (st == SA2_OK) {
        qsort(zip->entries, count, sizeof *zip->entries, compare_places);
        st = judge_places(zip, err);
    }
    if (st == SA2_OK) {
        qsort(zip->entries, count, sizeof *zip->entries, compare_names);
        st = judge_names(zip, err);
    }
    if (st != SA2_OK)
        sa2_zip_directory_close(zip);
    return st;
}

void sa2_zip_directory_close(sa2_zip_directory *zip)
{
    sa2_arena_destroy(&zip->memory);
    *zip = (sa2_zip_directory){0};
}

const sa2_zip_entry *sa2_zip_directory_find(const sa2_zip_directory *zip, const char *name,
                                            size_t name_bytes)
{
    sa2_zip_entry key = {.name = name, .name_bytes = name_bytes};
    if (zip->n_entries == 0)
        return NULL;
    return bsearch(&key, zip->entries, zip->n_entries, sizeof key, compare_names);
}
