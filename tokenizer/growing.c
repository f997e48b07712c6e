#include "tokenizer/growing.h"

#include <stdlib.h>
#include <string.h>

/* A block of at least `need` elements, grown by half so that n appends cost O(n). */
static bool grow(void **data, size_t *room, size_t need, size_t element_bytes)
{
    if (need <= *room)
        return true;
    size_t wanted = *room + *room / 2 + 64;
    if (wanted < need)
        wanted = need;
    if (wanted > SIZE_MAX / element_bytes)
        return false;
    void *block = realloc(*data, wanted * element_bytes);
    if (block == NULL)
        return false;
    *data = block;
    *room = wanted;
    return true;
}

void sa2_bytes_append(sa2_bytes *bytes, const char *data, size_t n)
{
    if (bytes->failed)
        return;
    void *block = bytes->data;
    if (n > SIZE_MAX - bytes->n - 1 || !grow(&block, &bytes->room, bytes->n + n + 1, 1)) {
        bytes->failed = true;
        return;
    }
    bytes->data = block;
    if (n > 0)
        memcpy(bytes->data + bytes->n, data, n);
    bytes->n += n;
    bytes->data[bytes->n] = '\0';
}

void sa2_bytes_append_text(sa2_bytes *bytes, const char *text)
{
    sa2_bytes_append(bytes, text, strlen(text));
}

void sa2_bytes_clear(sa2_bytes *bytes)
{
    bytes->n = 0;
    if (bytes->data != NULL)
        bytes->data[0] = '\0';
}

void sa2_bytes_free(sa2_bytes *bytes)
{
    free(bytes->data);
    *bytes = (sa2_bytes){0};
}

const char *sa2_bytes_text(const sa2_bytes *bytes)
{
    return bytes->data != NULL ? bytes->data : "";
}

void sa2_ids_append(sa2_ids *ids, int32_t id)
{
    sa2_ids_append_all(ids, &id, 1);
}

void sa2_ids_append_all(sa2_ids *ids, const int32_t *data, size_t n)
{
    if (ids->failed)
        return;
    void *block = ids->data;
    if (n > SIZE_MAX - ids->n || !grow(&block, &ids->room, ids->n + n, sizeof *data)) {
        ids->failed = true;
        return;
    }
    ids->data = block;
    if (n > 0)
        memcpy(ids->data + ids->n, data, n * sizeof *data);
    ids->n += n;
}

void sa2_ids_clear(sa2_ids *ids)
{
    ids->n = 0;
}

void sa2_ids_free(sa2_ids *ids)
{
    free(ids->data);
    *ids = (sa2_ids){0};
}

sa2_status sa2_bytes_status(const sa2_bytes *bytes, sa2_error *err)
{
    if (!bytes->failed)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_NOMEM, "text: no memory beyond %zu bytes", bytes->n);
}

sa2_status sa2_ids_status(const sa2_ids *ids, sa2_error *err)
{
    if (!ids->failed)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_NOMEM, "token ids: no memory beyond %zu of them", ids->n);
}
