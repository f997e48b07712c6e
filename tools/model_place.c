#include "tools/model_place.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_there(char place[SA2_MODEL_PLACE], const char *folder, const char *inner,
                     const char *name)
{
    int n = snprintf(place, SA2_MODEL_PLACE, "%s/%s%s", folder, inner, name);
    return n < SA2_MODEL_PLACE && access(place, F_OK) == 0;
}

const char *sa2_model_place(char place[SA2_MODEL_PLACE], const char *name)
{
    if (name == NULL || name[0] == '\0' || strchr(name, '/') != NULL || access(name, F_OK) == 0)
        return name;
    const char *models = getenv("SA2_MODELS");
    if (models != NULL && models[0] != '\0' && is_there(place, models, "", name))
        return place;
    char program[SA2_MODEL_PLACE];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash == NULL)
        return name;
    *slash = '\0';
    return is_there(place, program, "models/", name) ? place : name;
}
