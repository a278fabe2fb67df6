/// A picture turned upright, by the orientation that EXIF records; a number that is none leaves it as it is.
public func upright(_ picture: any Picture, _ orientation: Int) -> any Picture {
    (2...8).contains(orientation) ? Turned(picture, orientation) : picture
}

private struct Turned: Picture {
    private let picture: any Picture

    /// Rows become columns.
    private let swapped: Bool

    /// Along the rows, then along the columns of the upright picture, the other one is read from its end.
    private let fromRight: Bool
    private let fromBottom: Bool

    let width: Int
    let height: Int

    init(_ picture: any Picture, _ orientation: Int) {
        self.picture = picture
        swapped = orientation >= 5
        fromRight = [2, 3, 6, 7].contains(orientation)
        fromBottom = [3, 4, 7, 8].contains(orientation)
        width = swapped ? picture.height : picture.width
        height = swapped ? picture.width : picture.height
    }

    func row(_ y: Int, into line: inout [UInt32]) {
        let place = fromBottom ? height - 1 - y : y
        if swapped { picture.column(place, into: &line) } else { picture.row(place, into: &line) }
        if fromRight { line[0..<width].reverse() }
    }

    func column(_ x: Int, into line: inout [UInt32]) {
        let place = fromRight ? width - 1 - x : x
        if swapped { picture.row(place, into: &line) } else { picture.column(place, into: &line) }
        if fromBottom { line[0..<height].reverse() }
    }
}
