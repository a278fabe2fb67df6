package edgevit.core

/** What a manifest claims, checked before anything is read or allocated by it. */

/** A path as the manifest has it, refused where it leads out of the bundle. */
internal fun inside(path: String): String {
    val plain = path.isNotEmpty() && path.none { it == '\\' || it == ':' || it.isISOControl() }
    if (!plain || path.split('/').any { it.isEmpty() || it == "." || it == ".." }) {
        refuse("manifest.json: the path ${shown(path)} leads out of the bundle; do not use this bundle")
    }
    return path
}

/** The record of a file. */
internal fun recorded(path: String, files: Map<String, Recorded>): Recorded =
    files[inside(path)] ?: refuse("manifest.json names ${shown(path)}, which is not among its files; convert again")

internal fun checkModel(path: String, files: Map<String, Recorded>) {
    if (files.keys.none { it == inside(path) || it.startsWith("$path/") }) {
        refuse("manifest.json names ${shown(path)}, which is not among its files; convert again")
    }
}

/** A height and a width. */
fun size(json: Json): Size {
    val sides = json.list().map { it.whole(1L..MAX_SIDE).toInt() }
    if (sides.size != 2) json.wrong("a height and a width")
    return Size(sides[0], sides[1])
}

/** An axis of a tensor is a number, or has a name: then it is free. */
private fun axis(json: Json, value: Long): Boolean = json.textOrNull() != null || json.whole(1..MAX_VALUES) == value

/** The input takes one picture of the size that the preprocessing makes; returns the bytes of a value. */
internal fun checkInput(input: Json, crop: Size, takes: Takes): Int {
    val expected = listOf(1L, 3L, crop.height.toLong(), crop.width.toLong())
    val shape = input["shape"].list()
    val bytes = takes == Takes.UINT8
    input["dtype"].oneOf(if (bytes) "uint8" else "float32")
    if (shape.size != 4 || shape.zip(expected).any { (axis, value) -> !axis(axis, value) } || shape[1].textOrNull() != null) {
        input["shape"].wrong("${expected.joinToString(" x ")}, which is what the preprocessing makes")
    }
    return if (bytes) 1 else 4
}

/** The output has a value for each class, and there is a label for each. */
internal fun classes(output: Json, labels: Json): Long {
    val shape = output["shape"].list()
    output["dtype"].oneOf("float32")
    if (shape.size != 2 || !axis(shape[0], 1)) output["shape"].wrong("one row of classes")
    val classes = shape[1].whole(1..MAX_CLASSES)
    if (labels["count"].whole(1..MAX_CLASSES) != classes) labels["count"].wrong("$classes, the number of classes of the output")
    return classes
}

/** A `preprocess` record. */
fun preprocess(json: Json): Preprocess {
    val (resize, crop) = size(json["resize"]) to size(json["crop"])
    if (resize.height < crop.height || resize.width < crop.width) json["crop"].wrong("within the resized picture")
    val (low, high) = numbers(json["value_range"], 2).let { it[0] to it[1] }
    if (low >= high) json["value_range"].wrong("a range")
    val std = numbers(json["std"], 3)
    if (std.any { it <= 0 }) json["std"].wrong("above 0")
    json["color_order"].oneOf("RGB")
    return Preprocess(
        resize = resize,
        crop = crop,
        stretch = json["fit"].isNull.not() && json["fit"].oneOf("cover", "stretch") == "stretch",
        filter = if (json["interpolation"].oneOf("bicubic", "bilinear") == "bicubic") Filter.BICUBIC else Filter.BILINEAR,
        mean = numbers(json["mean"], 3),
        std = std,
        low = low,
        high = high,
    )
}

private fun numbers(json: Json, count: Int): DoubleArray {
    val values = json.list().map { it.number() }
    if (values.size != count) json.wrong("$count numbers")
    return values.toDoubleArray()
}
