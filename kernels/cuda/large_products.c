#include "kernels/cuda/large_products.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 20 };

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

/* One of the settings behind "cublaslt"; false when it is none. */
static bool set(sa2_large_products *l, char file[PATH_MAX], const char *text, size_t n)
{
    const char *value = memchr(text, '=', n);
    if (value == NULL)
        return false;
    size_t name = (size_t)(value - text), length = n - name - 1;
    value++;
    if (name == 4 && strncmp(text, "file", name) == 0)
        return length > 0 && snprintf(file, PATH_MAX, "%.*s", (int)length, value) == (int)length;
    if (name == 4 && strncmp(text, "rows", name) == 0)
        return (l->from_rows = number(value, length, 1)) > 0;
    if (name == 5 && strncmp(text, "piece", name) == 0)
        return (l->piece_rows = number(value, length, SA2_LARGE_PIECE)) > 0;
    return false;
}

sa2_status sa2_large_products_open(sa2_large_products *l, const char *text, sa2_error *err)
{
    char file[PATH_MAX] = "";
    const char *const named[] = {file, NULL};
    sa2_large_products made = {.from_rows = SA2_LARGE_ROWS};
    *l = made;
    if (text == NULL || strcmp(text, "own") == 0)
        return SA2_OK;
    size_t n = strcspn(text, ",");
    bool right = n == strlen("cublaslt") && strncmp(text, "cublaslt", n) == 0;
    for (const char *at = text + n; right && *at != '\0'; at += n) {
        at++; /* the comma */
        n = strcspn(at, ",");
        right = set(&made, file, at, n);
    }
    if (!right)
        return sa2_fail(err, SA2_ERR_ARG,
                        "large products \"%s\": own expected, or cublaslt with any of ,file=PATH "
                        ",rows=N ,piece=N (a multiple of %d), up to %d",
                        text, SA2_LARGE_PIECE, MOST);
    sa2_status st =
        sa2_cublaslt_open(&made.library, file[0] != '\0' ? named : sa2_cublaslt_names, err);
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
