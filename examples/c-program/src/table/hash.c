#include "hash.h"

unsigned char hash(const char *word)
{
    unsigned value = 5381;
    while (*word)
        value = value * 33 + (unsigned char)*word++;
    return (unsigned char)(value ^ value >> 8);
}
