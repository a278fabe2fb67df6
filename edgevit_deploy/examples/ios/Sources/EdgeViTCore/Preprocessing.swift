/// How a picture becomes the network's input.
public struct Preprocess {
    public let resize: Size
    public let crop: Size
    public let stretch: Bool
    public let filter: Filter
    public let mean: [Double]
    public let std: [Double]
    public let low: Double
    public let high: Double
}

/// The size to which a whole picture is resized before the crop.
func resizedSize(_ picture: any Picture, _ preprocess: Preprocess) -> Size {
    let (height, width) = (preprocess.resize.height, preprocess.resize.width)
    if preprocess.stretch { return preprocess.resize }
    if height * picture.width >= width * picture.height {
        return Size(height, longSide(height * picture.width, picture.height))
    }
    return Size(longSide(width * picture.height, picture.width), width)
}

/// Divides as Python does, then cuts the fraction off; what is larger than any picture is refused by `resize`.
private func longSide(_ product: Int, _ side: Int) -> Int {
    Int(min(Double(product) / Double(side), Double(Int32.max)))
}

/// Resizes an upright picture, and cuts its middle out.
public func resizeAndCrop(_ picture: any Picture, _ preprocess: Preprocess) throws -> Pixels {
    let resized = try resize(picture, to: resizedSize(picture, preprocess), by: preprocess.filter)
    let (height, width) = (preprocess.crop.height, preprocess.crop.width)
    let top = middle(resized.height - height)
    let left = middle(resized.width - width)
    var values: [UInt32] = []
    values.reserveCapacity(height * width)
    for y in 0..<height {
        let start = (top + y) * resized.width + left
        values += resized.values[start..<start + width]
    }
    return Pixels(width: width, height: height, values: values)
}

/// Half to even, as Python rounds.
private func middle(_ rest: Int) -> Int {
    Int((Double(rest) / 2).rounded(.toNearestOrEven))
}

/// The network's input of a picture that has its size: three planes in the order R, G, B.
public func tensor(_ pixels: Pixels, _ preprocess: Preprocess, takesImage: Bool) -> [Float] {
    var result: [Float] = []
    result.reserveCapacity(3 * pixels.values.count)
    for channel in 0..<3 {
        let values = (0..<256).map { takesImage ? Float($0) : normalised($0, channel, preprocess) }
        let shift = UInt32(16 - 8 * channel)
        for pixel in pixels.values { result.append(values[Int(pixel >> shift & 255)]) }
    }
    return result
}

/// In double, and in this order: another one rounds otherwise.
private func normalised(_ value: Int, _ channel: Int, _ preprocess: Preprocess) -> Float {
    let ranged = Double(value) / 255 * (preprocess.high - preprocess.low) + preprocess.low
    return Float((ranged - preprocess.mean[channel]) / preprocess.std[channel])
}
