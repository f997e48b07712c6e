#include "kernels/cuda/large_products.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 20 };

const int sa2_product_tiles[] = {32, 64, 128, 192, 0}, sa2_product_clusters[] = {1, 2, 4, 0};

/* A number from `unit` to MOST, in steps of that, which fills text[0, n); 0 for anything else. */
static int number(const char *text, size_t n, int unit)
{
    long value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || value > MOST)
            return 0;
        value = 10 * value + (text[i] - '0');
    }
    return value % unit == 0 && value <= MOST ? (int)value : 0;
}

static bool is(const char *text, size_t n, const char *word)
{
    return n == strlen(word) && strncmp(text, word, n) == 0;
}

/* One of these numbers; 0 for anything else. */
static int one_of(const int *numbers, const char *text, size_t n)
{
    int value = number(text, n, 1);
    while (*numbers != 0 && *numbers != value)
        numbers++;
    return *numbers;
}

/* One of the settings behind "own" or "cublaslt"; false when it is none. */
static bool set(sa2_large_products *l, bool own, char file[PATH_MAX], const char *text, size_t n)
{
    const char *value = memchr(text, '=', n);
    if (value == NULL)
        return false;
    size_t name = (size_t)(value - text), length = n - name - 1;
    value++;
    if (own && is(text, name, "tile"))
        return (l->tile_rows = one_of(sa2_product_tiles, value, length)) > 0;
    if (own && is(text, name, "cluster"))
        return (l->cluster = one_of(sa2_product_clusters, value, length)) > 0 ||
               is(value, length, "auto");
    if (own && is(text, name, "split")) {
        l->split = is(value, length, "yes") ? SA2_SPLIT_YES : SA2_SPLIT_NO;
        return l->split == SA2_SPLIT_YES || is(value, length, "no");
    }
    if (own)
        return false;
    if (is(text, name, "file"))
        return length > 0 && snprintf(file, PATH_MAX, "%.*s", (int)length, value) == (int)length;
    if (is(text, name, "rows"))
        return (l->from_rows = number(value, length, 1)) > 0;
    if (is(text, name, "piece"))
        return (l->piece_rows = number(value, length, SA2_LARGE_PIECE)) > 0;
    return false;
}

sa2_status sa2_large_products_open(sa2_large_products *l, const char *text, sa2_error *err)
{
    char file[PATH_MAX] = "";
    const char *const named[] = {file, NULL};
    sa2_large_products made = {.from_rows = SA2_LARGE_ROWS, .cluster = 1};
    *l = (sa2_large_products){0};
    if (text == NULL)
        text = "own";
    size_t n = strcspn(text, ",");
    bool own = is(text, n, "own"), right = own || is(text, n, "cublaslt");
    for (const char *at = text + n; right && *at != '\0'; at += n) {
        at++; /* the comma */
        n = strcspn(at, ",");
        right = set(&made, own, file, at, n);
    }
    if (!right)
        return sa2_fail(
            err, SA2_ERR_ARG,
            "large products \"%s\": own expected, with any of ,tile=32 (64, 128, 192) "
            ",cluster=1 (2, 4, auto) ,split=no (yes), or cublaslt with any of ,file=PATH "
            ",rows=N ,piece=N (a multiple of %d), up to %d",
            text, SA2_LARGE_PIECE, MOST);
    sa2_status st =
        own ? SA2_OK
            : sa2_cublaslt_open(&made.library, file[0] != '\0' ? named : sa2_cublaslt_names, err);
    if (st != SA2_OK)
        return sa2_wrap(err, st, "large products by cuBLASLt");
    *l = made;
    return SA2_OK;
}

void sa2_large_products_close(sa2_large_products *l)
{
    sa2_cublaslt_close(l->library);
    *l = (sa2_large_products){0};
}
